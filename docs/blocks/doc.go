// Package blocks holds the documents to what they say: every block of code, every
// command and every sample in this repository's Markdown is compiled, run,
// parsed, or listed with the reason why not. It is a module of its own because
// of what the documents compare us with.
//
// What is done with a block follows from the language of its fence. A writer
// has nothing to add, save where a comment in the line before the fence says
// more:
//
//	<!-- conformance/recipes/sql.go -->    the block is that file, less its package clause
//	<!-- frame: var store *Store -->       declarations that a Go block needs besides frame.go
//	<!-- output of: chi-app -->            what a run of outputs_test.go prints
//	<!-- not run: needs a project -->      nothing is done, for this reason
//	<!-- quoted: FILE FUNC -->             docs/testing.md's own: TestTestingGuide of
//	<!-- printed: TEST -->                 internal/archtest compares these blocks
//
// Of Go there are programs, which begin with a package clause, and are built;
// declarations, which lack that clause; and statements. The latter two are
// type-checked; a package that they do not import themselves is one of
// imports.go. Commands are those of sh blocks, of indented ones, and of code
// spans: programs_test.go says what becomes of each program's. JSON is parsed.
// A code span that begins with a name, as obs.Options.Redact or Config.Skip, is
// looked up. Of some documents other tests try the blocks: elsewhere, in
// blocks_test.go, says which. Any other block needs a comment, or fails.
//
// After a change of code that a document quotes:
//
//	go test . -update
package blocks
