package login

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
)

const (
	// cost is bcrypt's for new hashes: about a quarter of a second.
	cost = 12
	// leastCost and mostCost bound those in a file: less is guessed too fast, more
	// keeps everybody waiting.
	leastCost, mostCost = 10, 14
	// maxPassword is how many bytes bcrypt looks at.
	maxPassword = 72
	// leastPassword is how many bytes a new password has at least.
	leastPassword = 8
	// maxUsers is how many users a file may have.
	maxUsers = 10_000
)

// User is somebody who may log in.
type User struct {
	Name string
	Role Role
	// By is how he was authenticated, such as ByFile; Until is when that ends, or zero.
	By    string
	Until time.Time
	hash  []byte
}

// Users are those of a file. The zero value has none.
type Users struct {
	byName map[string]User
	// unknown is what the password of an unknown user is compared with, so that it
	// takes as long.
	unknown []byte
	compare func(hash, password []byte) error
}

// ReadUsers reads lines of the form name:role:hash. Empty ones, and those that begin with
// #, do not count. All hashes have the same cost: else how long a comparison takes would tell
// who is there. An error quotes no hash.
func ReadUsers(r io.Reader) (*Users, error) { return ReadUsersOfCost(r, leastCost) }

// ReadUsersOfCost is ReadUsers for hashes of at least this cost. It is for tests of what
// is behind the login: a comparison at the usual cost takes a second under the race detector.
func ReadUsersOfCost(r io.Reader, least int) (*Users, error) {
	u := &Users{byName: map[string]User{}, compare: bcrypt.CompareHashAndPassword}
	common := 0 // the cost of all hashes
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		user, err := parseUser(line, least)
		if err == nil {
			if _, twice := u.byName[user.Name]; twice {
				err = fmt.Errorf("user %q is there twice", user.Name)
			}
		}
		if err == nil {
			common, err = user.costs(common)
		}
		if err == nil && len(u.byName) == maxUsers {
			err = fmt.Errorf("there are more than %d users", maxUsers)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		u.byName[user.Name] = user
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(u.byName) == 0 {
		return nil, errors.New("it has no users: `holdfast console hash` makes a line")
	}
	var err error
	u.unknown, err = bcrypt.GenerateFromPassword([]byte(rand.Text()), common)
	return u, err
}

func parseUser(line string, least int) (User, error) {
	parts := strings.Split(line, ":")
	if len(parts) != 3 {
		return User{}, errors.New("want name:role:hash, as `holdfast console hash` writes it")
	}
	name := parts[0]
	if err := CheckName(name); err != nil {
		return User{}, err
	}
	role, err := ParseRole(parts[1])
	if err != nil {
		return User{}, fmt.Errorf("user %q: %w", name, err)
	}
	c, err := bcrypt.Cost([]byte(parts[2]))
	switch {
	case err != nil:
		return User{}, fmt.Errorf("user %q: the third part is no hash of bcrypt", name)
	case c < least || c > mostCost:
		return User{}, fmt.Errorf("user %q: the hash's cost is %d, want %d to %d", name, c, least, mostCost)
	}
	return User{Name: name, Role: role, By: ByFile, hash: []byte(parts[2])}, nil
}

// costs returns the cost of the user's hash, which is that of those before, if there are any.
func (u User) costs(before int) (int, error) {
	c, err := bcrypt.Cost(u.hash)
	if err == nil && before != 0 && c != before {
		err = fmt.Errorf("user %q: the hash's cost is %d, and that of the users before is %d: all have to have the same, "+
			"as `holdfast console hash` makes them", u.Name, c, before)
	}
	return c, err
}

// CheckName says why nobody can have this name: it is what signs in histories.
func CheckName(name string) error {
	if strings.ContainsAny(name, ":") || strings.TrimSpace(name) != name {
		return fmt.Errorf("the name %q has a colon, or spaces around it", name)
	}
	return actions.CheckOperator(name)
}

// Has reports whether somebody has this name.
func (u *Users) Has(name string) bool {
	_, there := u.byName[name]
	return there
}

// Check returns the user whose name and password these are. It takes as long for a name
// that nobody has.
func (u *Users) Check(name, password string) (User, bool) {
	user, known := u.byName[name]
	hash := user.hash
	if !known {
		hash = u.unknown
	}
	fits := u.compare(hash, []byte(password[:min(len(password), maxPassword)])) == nil
	if !known || !fits || len(password) > maxPassword {
		return User{}, false
	}
	return user, true
}

// Line is a user's line for the file.
func Line(name string, role Role, password string) (string, error) {
	return lineOfCost(name, role, password, cost)
}

func lineOfCost(name string, role Role, password string, cost int) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	if len(password) < leastPassword || len(password) > maxPassword {
		return "", fmt.Errorf("the password has %d bytes, want %d to %d", len(password), leastPassword, maxPassword)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		return "", err
	}
	return name + ":" + role.String() + ":" + string(hash), nil
}
