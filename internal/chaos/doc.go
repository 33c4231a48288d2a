// Package chaos has one test: that many transactions of the Express lane, and some
// of the Traced lane among them, end as every database says and as their callers
// were told, however processes and servers die meanwhile.
//
//	plan_test.go     what a seed makes: the transactions, their troubles, the kills
//	child_test.go    a process: a producer, or a consumer
//	produce_test.go  what a producer sends, and what happens inside
//	consume_test.go  what a consumer does
//	journal_test.go  what callers were told, on disk before they go on
//	process_test.go  starts processes, again and again, and kills them
//	drive_test.go    the servers, the kills, and the wait until all is at rest
//	audit_test.go    compares everything
package chaos
