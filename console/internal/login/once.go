package login

import (
	"crypto/subtle"
	"sync"
)

// Once is a login without a password that is good for one time. The zero value, or nil, lets
// nobody in.
type Once struct {
	user User

	mu    sync.Mutex
	token string
}

// NewOnce returns a login for a user of this name, who is an admin.
func NewOnce(name string) *Once {
	return &Once{user: User{Name: name, Role: Admin, By: ByDev}, token: secret()}
}

// Token is what lets in; empty once it has.
func (o *Once) Token() string {
	if o == nil {
		return ""
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.token
}

// Use lets in whoever has the token, the first time.
func (o *Once) Use(token string) (User, bool) {
	if o == nil {
		return User{}, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.token == "" || subtle.ConstantTimeCompare([]byte(token), []byte(o.token)) != 1 {
		return User{}, false
	}
	o.token = ""
	return o.user, true
}
