// Package upgrade has two tests, one with transactions and one with sagas: that processes of
// an older version, built from its own source, and processes of this one run side by side as
// docs/upgrade.md promises, however they are killed meanwhile.
//
//	upgrade_test.go   the phases of a rolling upgrade, with transactions
//	sagas_test.go     the same with sagas, whose keys are started again by the other version
//	process_test.go   builds the program in both trees, starts processes of it and kills them
//	world_test.go     the servers, and the wait until all is at rest
//	audit_test.go     what went through the half queue, and what is in the database
//	testdata/program  the program: public API that both versions have, and nothing else
package upgrade
