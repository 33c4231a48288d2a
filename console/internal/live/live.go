// Package live looks at pages for all who have them open: whoever has the same one open shares its
// looks, and where nobody has, there are none. It knows neither what a page is nor how anybody is
// told.
package live

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/holdfastmq/holdfast/internal/guard"
)

var (
	// ErrYours says that one session, or one user in all his sessions, has as many streams as may be.
	ErrYours = errors.New("as many pages are live as one session, or one user, may have")
	// ErrAll says that there are as many streams as there may be.
	ErrAll = errors.New("as many pages are live as there may be")
	// ErrEnded says that there are no more streams.
	ErrEnded = errors.New("no page is live any more")
)

// Frame is what one look saw.
type Frame struct {
	// Print tells what was seen from anything else. Body is all of it; with one Print it may
	// differ by what always moves, such as for how long something has been so.
	Print string
	Body  []byte
	// Wrong says why nothing was seen.
	Wrong string
	// At is when the look was over, N which look of the page it was, from 1.
	At time.Time
	N  uint64
}

// Page is what is looked at: those of one Name are one.
type Page struct {
	Name string
	// Every is how long after a look the next one begins. A look that takes long is followed
	// by a rest of twice as long, if that is longer.
	Every time.Duration
	Look  func(context.Context) Frame
}

// Hub has the pages that are open.
type Hub struct {
	most, ofOne, ofUser int
	now                 func() time.Time
	after               func(time.Duration) <-chan time.Time

	mu      sync.Mutex
	pages   map[string]*page
	streams int
	bySess  map[string]int
	byUser  map[string]int
	ended   chan struct{}
	over    bool
}

// New returns a hub of at most so many streams, of so many of one session, and of one user; now is the
// clock, and after is what waits, such as time.After.
func New(most, ofOne, ofUser int, now func() time.Time, after func(time.Duration) <-chan time.Time) *Hub {
	return &Hub{most: most, ofOne: ofOne, ofUser: ofUser, now: now, after: after, pages: map[string]*page{},
		bySess: map[string]int{}, byUser: map[string]int{}, ended: make(chan struct{})}
}

// page is one that is open.
type page struct {
	Page
	stop    context.CancelFunc
	streams int

	mu   sync.Mutex
	last Frame         // N is 0 before the first look
	next chan struct{} // closed by the next look
}

// Stream is somebody who has a page open. Close it.
type Stream struct {
	h       *Hub
	p       *page
	session string
	user    string
	once    sync.Once
}

// Open begins a stream of a page, for a session of a user.
func (h *Hub) Open(of Page, session, user string) (*Stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.over:
		return nil, ErrEnded
	case h.bySess[session] >= h.ofOne, h.byUser[user] >= h.ofUser:
		return nil, ErrYours
	case h.streams >= h.most:
		return nil, ErrAll
	}
	p := h.pages[of.Name]
	if p == nil {
		ctx, stop := context.WithCancel(context.Background())
		p = &page{Page: of, stop: stop, next: make(chan struct{})}
		h.pages[of.Name] = p
		go h.look(ctx, p)
	}
	p.streams++
	h.streams++
	h.bySess[session]++
	h.byUser[user]++
	return &Stream{h: h, p: p, session: session, user: user}, nil
}

// look looks again and again, until the last one who has the page open leaves.
func (h *Hub) look(ctx context.Context, p *page) {
	for {
		began := time.Now()
		f, err := guard.Value(func() (Frame, error) { return p.Look(ctx), nil })
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			f = Frame{Wrong: "the look has failed"}
		}
		f.At = h.now()
		p.mu.Lock()
		f.N = p.last.N + 1
		p.last = f
		close(p.next)
		p.next = make(chan struct{})
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-h.after(max(p.Every, 2*time.Since(began))):
		}
	}
}

// Last returns what was seen last; its N is 0 before the first look. next is closed by the next
// one.
func (s *Stream) Last() (last Frame, next <-chan struct{}) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return s.p.last, s.p.next
}

// Close ends the stream, and the looks if it is the last one of its page.
func (s *Stream) Close() {
	s.once.Do(func() {
		h := s.h
		h.mu.Lock()
		defer h.mu.Unlock()
		h.streams--
		if h.bySess[s.session]--; h.bySess[s.session] == 0 {
			delete(h.bySess, s.session)
		}
		if h.byUser[s.user]--; h.byUser[s.user] == 0 {
			delete(h.byUser, s.user)
		}
		if s.p.streams--; s.p.streams == 0 {
			s.p.stop()
			delete(h.pages, s.p.Name)
		}
	})
}

// Pages is how many pages somebody has open.
func (h *Hub) Pages() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.pages)
}

// Ended is closed by End.
func (h *Hub) Ended() <-chan struct{} { return h.ended }

// End ends all looks, and has no further stream begin.
func (h *Hub) End() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return
	}
	h.over = true
	close(h.ended)
	for _, p := range h.pages {
		p.stop()
	}
}

// Streams counts those that are open.
func (h *Hub) Streams() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams
}
