package login

import "fmt"

// Role is what a user may do. The zero value is nobody, who may do nothing.
type Role int

// The roles; each may do what those before it may.
const (
	Nobody   Role = iota
	Viewer        // looks
	Operator      // acts
	Admin         // reads the audit
)

var roleNames = map[Role]string{Viewer: "viewer", Operator: "operator", Admin: "admin"}

// String implements fmt.Stringer.
func (r Role) String() string {
	if name, ok := roleNames[r]; ok {
		return name
	}
	return "nobody"
}

// May reports whether the role may do what is for another one.
func (r Role) May(what Role) bool { return r >= what && r > Nobody }

// ParseRole reads a role's name.
func ParseRole(name string) (Role, error) {
	for r, known := range roleNames {
		if known == name {
			return r, nil
		}
	}
	return Nobody, fmt.Errorf("role %q: want viewer, operator or admin", name)
}
