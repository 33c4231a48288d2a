package site

import (
	"strings"

	"github.com/holdfastmq/holdfast/console/internal/batch"
	"github.com/holdfastmq/holdfast/console/internal/login"
)

// person is who somebody is where two are needed: his name, however it is written, and however
// he has logged in.
func person(of login.Session) string { return strings.ToLower(of.User) }

// needsSecond adds n things to those that somebody acts on, and reports whether that is more than
// he may act on without a second person.
func (s *Site) needsSecond(of login.Session, n int) bool {
	if s.ApproveOver <= 0 {
		return false
	}
	over := 0
	for range n {
		over, _ = s.alone.Take(person(of))
	}
	return over > 0
}

// maySayGo reports whether it is for somebody to say that a run goes on: for who began it or, where
// a second person is needed, for another one.
func maySayGo(v batch.View, of login.Session) bool {
	a, _ := v.About.(about)
	if a.Second {
		return a.Person != person(of)
	}
	return v.Who == of.Signed()
}

// whoSaysGo says for whom it is, in words.
func whoSaysGo(v batch.View) string {
	if a, _ := v.About.(about); a.Second {
		return "another operator than " + v.Who + ", who began it"
	}
	return v.Who + ", who began it"
}
