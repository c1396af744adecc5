// Package keep has the code of docs/migrating.md by which call sites of other
// loggers stay as they are, so that its tests run it.
package keep
