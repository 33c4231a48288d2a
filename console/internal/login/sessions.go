package login

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"sync"
	"time"
)

const (
	// Idle is how long a session lasts without a page that somebody asked for; Longest
	// is how long it lasts at most.
	Idle, Longest = 30 * time.Minute, 12 * time.Hour
	// maxSessions is how many there are at most, maxOfOne how many one user has: the
	// oldest ends.
	maxSessions, maxOfOne = 1000, 20
)

// Session is somebody who has logged in.
type Session struct {
	// Key tells it from others; it is not what the browser has, and opens nothing.
	Key  string
	User string
	Role Role
	// token is in each form of the session.
	token       string
	began, used time.Time
}

// Token is what each form of the session carries.
func (s Session) Token() string { return s.token }

// Sent reports whether a form carried the session's token.
func (s Session) Sent(token string) bool {
	return s.token != "" && subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) == 1
}

// Sessions are those of this process: they end with it.
type Sessions struct {
	now func() time.Time

	mu    sync.Mutex
	byKey map[string]*Session
}

// NewSessions returns no sessions, by a clock.
func NewSessions(now func() time.Time) *Sessions {
	return &Sessions{now: now, byKey: map[string]*Session{}}
}

// Begin begins a session. id is what its browser gets, and nobody else.
func (s *Sessions) Begin(u User) (id string, began Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for key, other := range s.byKey {
		if other.over(now) {
			delete(s.byKey, key)
		}
	}
	s.makeRoom(u.Name, maxOfOne)
	s.makeRoom("", maxSessions)
	id = secret()
	began = Session{Key: keyOf(id), User: u.Name, Role: u.Role, token: secret(), began: now, used: now}
	s.byKey[began.Key] = &began
	return id, began
}

// makeRoom ends the session that was used least lately, if there are as many as may be: of a
// user, or of all if none is named.
func (s *Sessions) makeRoom(user string, most int) {
	n := 0
	var oldest *Session
	for _, other := range s.byKey {
		if user != "" && other.User != user {
			continue
		}
		if n++; oldest == nil || other.used.Before(oldest.used) {
			oldest = other
		}
	}
	if n >= most {
		delete(s.byKey, oldest.Key)
	}
}

// Find returns the session with this ID. used says that somebody asked for a page, and not
// the browser by itself: that keeps the session.
func (s *Sessions) Find(id string, used bool) (Session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.byKey[keyOf(id)]
	if !ok {
		return Session{}, false
	}
	now := s.now()
	if found.over(now) {
		delete(s.byKey, found.Key)
		return Session{}, false
	}
	if used {
		found.used = now
	}
	return *found, true
}

// End ends a session.
func (s *Sessions) End(of Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byKey, of.Key)
}

func (s *Session) over(now time.Time) bool {
	return now.Sub(s.used) >= Idle || now.Sub(s.began) >= Longest
}

// secret is 256 random bits as text.
func secret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// keyOf is what a session is kept under: how long it takes to find one tells nothing of
// the ID.
func keyOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}
