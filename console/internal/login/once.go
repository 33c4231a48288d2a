package login

import (
	"crypto/subtle"
	"sync"
	"time"
)

// onceLasts is how long a login without a password is good.
const onceLasts = 15 * time.Minute

// Once is a login without a password that is good for one time, within 15 minutes. The zero value, or nil, lets
// nobody in.
type Once struct {
	user User
	now  func() time.Time
	ends time.Time

	mu    sync.Mutex
	token string
}

// NewOnce returns a login for a user of this name, who is an admin; now is the clock.
func NewOnce(name string, now func() time.Time) *Once {
	return &Once{user: User{Name: name, Role: Admin, By: ByDev}, now: now, ends: now().Add(onceLasts), token: secret()}
}

// Token is what lets in; empty once it has, or was tried too late.
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
	if !o.now().Before(o.ends) {
		o.token = ""
	}
	if o.token == "" || subtle.ConstantTimeCompare([]byte(token), []byte(o.token)) != 1 {
		return User{}, false
	}
	o.token = ""
	return o.user, true
}
