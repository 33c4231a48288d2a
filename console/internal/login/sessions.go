package login

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"sync"
	"time"

	"github.com/holdfastmq/holdfast/workflows"
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
	// By is how he was authenticated, such as ByFile.
	By string
	// token is in each form of the session.
	token       string
	began, used time.Time
	until       time.Time // zero: as long as any
	ended       chan struct{}
}

// Ended is closed when the session has ended and somebody noticed: it was ended, or was asked for
// after its time.
func (s Session) Ended() <-chan struct{} { return s.ended }

// Signed is what he signs with: his name, and what says that it is his.
func (s Session) Signed() string { return workflows.Authenticated(s.User, s.By) }

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
			s.drop(key)
		}
	}
	s.makeRoom(maxOfOne, func(of *Session) bool { return of.User == u.Name && of.By == u.By })
	s.makeRoom(maxSessions, func(*Session) bool { return true })
	id = secret()
	began = Session{Key: keyOf(id), User: u.Name, Role: u.Role, By: u.By, token: secret(), began: now,
		used: now, until: u.Until, ended: make(chan struct{})}
	s.byKey[began.Key] = &began
	return id, began
}

// makeRoom ends the session that was used least lately of those that are meant, if there are as
// many as may be.
func (s *Sessions) makeRoom(most int, meant func(*Session) bool) {
	n := 0
	var oldest *Session
	for _, other := range s.byKey {
		if !meant(other) {
			continue
		}
		if n++; oldest == nil || other.used.Before(oldest.used) {
			oldest = other
		}
	}
	if n >= most {
		s.drop(oldest.Key)
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
		s.drop(found.Key)
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
	s.drop(of.Key)
}

// Lasts reports whether a session goes on. To ask does not keep it.
func (s *Sessions) Lasts(of Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.byKey[of.Key]
	if ok && found.over(s.now()) {
		s.drop(of.Key)
		return false
	}
	return ok
}

// drop ends the session that has this key.
func (s *Sessions) drop(key string) {
	if found, ok := s.byKey[key]; ok {
		delete(s.byKey, key)
		close(found.ended)
	}
}

func (s *Session) over(now time.Time) bool {
	return now.Sub(s.used) >= Idle || now.Sub(s.began) >= Longest || !s.until.IsZero() && !now.Before(s.until)
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
