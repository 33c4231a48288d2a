package login

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// tokenPrefix begins each token, so that one is known where it should not be.
	tokenPrefix = "holdfast_"
	// maxTokens is how many there are at most, tokensOfOne how many one user has.
	maxTokens, tokensOfOne = 1000, 10
)

// Token lets the command line act as somebody who was logged in when he made it.
type Token struct {
	// Key tells it from others, and opens nothing.
	Key string
	// Of is who made it, as he was then; For is what he calls it.
	Of           Session
	For          string
	Began, Until time.Time
	Used         time.Time // zero: never
}

// Tokens are those of this process, by their hashes: they end with it.
type Tokens struct {
	now func() time.Time

	mu    sync.Mutex
	byKey map[string]*Token
}

// NewTokens returns no tokens, by a clock.
func NewTokens(now func() time.Time) *Tokens { return &Tokens{now: now, byKey: map[string]*Token{}} }

// ErrTokens says that somebody has as many tokens as he may have.
var ErrTokens = errors.New("you have as many tokens as there may be: revoke one")

// Make makes a token for somebody, good as long as a session may last, and no longer than his
// own login is. secret is told once.
func (t *Tokens) Make(of Session, what string) (secretOnce string, made Token, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	mine := 0
	for key, other := range t.byKey {
		switch {
		case other.over(now):
			delete(t.byKey, key)
		case other.Of.Signed() == of.Signed():
			mine++
		}
	}
	if mine >= tokensOfOne || len(t.byKey) >= maxTokens {
		return "", Token{}, ErrTokens
	}
	until := of.began.Add(Longest)
	if !of.until.IsZero() && of.until.Before(until) {
		until = of.until
	}
	id := tokenPrefix + secret()
	made = Token{Key: keyOf(id)[:16], Of: of, For: what, Began: now, Until: until}
	t.byKey[keyOf(id)] = &made
	return id, made, nil
}

func (t *Token) over(now time.Time) bool { return !now.Before(t.Until) }

// Find returns whose token it is.
func (t *Tokens) Find(id string) (Token, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found, ok := t.byKey[keyOf(id)]
	if !ok || !strings.HasPrefix(id, tokenPrefix) || found.over(t.now()) {
		return Token{}, false
	}
	found.Used = t.now()
	return *found, true
}

// Of returns somebody's tokens, the oldest first.
func (t *Tokens) Of(who Session) (all []Token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, one := range t.byKey {
		if one.Of.Signed() == who.Signed() && !one.over(t.now()) {
			all = append(all, *one)
		}
	}
	slices.SortFunc(all, func(x, y Token) int { return x.Began.Compare(y.Began) })
	return all
}

// All returns everybody's tokens, by who has made them, the oldest first.
func (t *Tokens) All() (all []Token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, one := range t.byKey {
		if !one.over(t.now()) {
			all = append(all, *one)
		}
	}
	slices.SortFunc(all, func(x, y Token) int {
		return cmp.Or(cmp.Compare(x.Of.Signed(), y.Of.Signed()), x.Began.Compare(y.Began), cmp.Compare(x.Key, y.Key))
	})
	return all
}

// RevokeAny ends anybody's token, by its Key, and returns it; false: there is none.
func (t *Tokens) RevokeAny(key string) (Token, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for full, one := range t.byKey {
		if one.Key == key && !one.over(t.now()) {
			delete(t.byKey, full)
			return *one, true
		}
	}
	return Token{}, false
}

// Revoke ends a token of somebody's, by its Key; false: he has none.
func (t *Tokens) Revoke(who Session, key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for full, one := range t.byKey {
		if one.Key == key && one.Of.Signed() == who.Signed() {
			delete(t.byKey, full)
			return true
		}
	}
	return false
}
