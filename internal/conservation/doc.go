// Package conservation has one test: that money and stock are conserved over many
// random sagas with random failures, in processes that are killed at random.
//
//	plan_test.go    what a seed makes: the sagas, their troubles, the kills
//	shapes_test.go  the sagas' definitions, and the participants
//	books_test.go   what a step does: it moves units, and gets into trouble
//	child_test.go   a process: of the group of the sagas, or a participant's
//	process_test.go starts processes, again and again, and kills them
//	drive_test.go   starts sagas, and steers them
//	thief_test.go   loses replies
//	audit_test.go   looks at what is left in all databases
package conservation
