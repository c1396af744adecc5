// Package browsertest opens the viewer's page in Chromium and uses it as people
// do. It is a module of its own, so that programs that use the viewer do not
// have a browser's protocol among their requirements.
//
//	apt-get install chromium
//	go test ./...
//
// Without Chromium the tests are skipped, unless CI is set. Screenshots are in
// the folder screenshots afterwards. testdata/axe.min.js is axe-core 4.14.1 as
// published (https://github.com/dequelabs/axe-core), under the MPL 2.0.
package browsertest
