package login

import (
	"errors"
	"fmt"
	"slices"
)

// How somebody was authenticated.
const (
	ByFile  = "file"      // a password of the file of users
	ByOIDC  = "oidc"      // a provider of OpenID Connect
	ByProxy = "proxy"     // a trusted proxy's header
	ByDev   = "dev-login" // the login for development
)

// Groups say which groups have which role. A name means exactly that group.
type Groups struct{ Viewers, Operators, Admins []string }

// Check says why the groups give nobody a role, or one to everybody.
func (g Groups) Check() error {
	all := slices.Concat(g.Viewers, g.Operators, g.Admins)
	if len(all) == 0 {
		return errors.New("no group has a role: nobody could log in")
	}
	if slices.Contains(all, "") {
		return errors.New("a group's name is empty")
	}
	return nil
}

// Role is the largest role that one of the groups has.
func (g Groups) Role(of []string) Role {
	for _, r := range []struct {
		role Role
		has  []string
	}{{Admin, g.Admins}, {Operator, g.Operators}, {Viewer, g.Viewers}} {
		if slices.ContainsFunc(of, func(name string) bool { return slices.Contains(r.has, name) }) {
			return r.role
		}
	}
	return Nobody
}

// CheckForeignName says why nobody can have a name that somebody else's login gives: beside
// CheckName, it has to be of ASCII, so that none looks like another one.
func CheckForeignName(name string) error {
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' || c == '(' || c == ')' || c == '"' || c == '<' || c == '>' || c == ',' || c == ';' {
			return fmt.Errorf("the name %q is not of ASCII letters, digits and marks such as . _ - @: others may look "+
				"like it", name)
		}
	}
	return CheckName(name)
}
