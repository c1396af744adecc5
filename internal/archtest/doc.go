// Package archtest holds the rules of this repository as tests: which package
// may import which, and why not; how large a file, a function and the root
// go.mod may grow; where the environment is read; that nothing runs or changes
// at package level.
//
// Read imports_test.go first: its tables are the architecture. source_test.go,
// gomod_test.go and examples_test.go hold the house rules, readme_test.go and
// guide_test.go hold documents to what they show, tree_test.go reads the
// module's source, and bite_test.go shows that each rule catches what it is
// meant to catch.
package archtest
