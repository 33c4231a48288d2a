// Package login knows who sits at a browser: the users with their hashed passwords, what
// their roles may do, the sessions, how often somebody may guess, and the login that is good
// for one time. It knows no page; package site asks it.
package login
