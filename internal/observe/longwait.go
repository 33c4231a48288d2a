package observe

import (
	"fmt"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/metrics"
)

// waitingEvery is how often people are told, by this process, that sagas of a group wait
// for one and the same participant.
const waitingEvery = 15 * time.Minute

// maxEpisodes bounds what is remembered of them: names come from outside, too.
const maxEpisodes = 1000

// longWaits are when people were told last that something is waited for.
type longWaits struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// due reports whether it is time to tell of what again.
func (l *longWaits) due(what string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.makeRoom()
	if at, told := l.last[what]; told && now.Sub(at) < waitingEvery {
		return false
	}
	l.last[what] = now
	return true
}

// Begins reports whether what is noted for the first time after a while: an episode of it
// begins, of which people are to be told once. It ends when it was not noted for
// episodeGap.
func (l *longWaits) begins(what string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.makeRoom()
	at, known := l.last[what]
	l.last[what] = now
	return !known || now.Sub(at) >= episodeGap
}

// makeRoom has l.last forget everything where that is too much. l.mu is held.
func (l *longWaits) makeRoom() {
	if l.last == nil || len(l.last) >= maxEpisodes {
		l.last = map[string]time.Time{}
	}
}

// episodeGap is how long nothing must wait anew for a wait to be another one. It is longer
// than the longest delay of the default ladder.
const episodeGap = 90 * time.Minute

// retryWaits tells that messages of a consumer wait for long on its ladder.
func (o *Observer) retryWaits(e broker.Event) {
	o.metrics.ConsumerWaited(e.Consumer, metrics.WaitsOnLadder)
	if !o.longWaits.begins("retry "+e.Consumer, o.Now()) {
		return
	}
	o.alerts.Alert(holdfast.Alert{Kind: holdfast.AlertRetryWaits, Consumer: e.Consumer, Group: e.Group, ID: e.MessageID,
		Topic: e.Topic, Key: e.Key, Class: e.Class,
		Reason: fmt.Sprintf("a message has failed since %s, after %d attempts, and its next try is in %v: %s",
			e.Since.UTC().Format(time.RFC3339), e.Attempts, e.Delay, e.Reason),
		Remedy: "mend what the consumer fails for; `holdfast waiting` lists what waits on its ladder, `holdfast retry-now` " +
			"has it tried at once"})
}

// breakerWaits is how long a breaker may not close before people are told once more.
const breakerWaits = 5 * time.Minute

// breakerStays tells that a consumer's breaker does not close.
func (o *Observer) breakerStays(e broker.Event, since time.Time) {
	o.metrics.ConsumerWaited(e.Consumer, metrics.WaitsOnBreaker)
	o.alerts.Alert(holdfast.Alert{Kind: holdfast.AlertBreakerWaits, Consumer: e.Consumer,
		Reason: fmt.Sprintf("the breaker has not closed since %s; it opened for: %s", since.UTC().Format(time.RFC3339),
			e.Reason),
		Remedy: "mend what the consumer depends on; it goes on by itself, and `holdfast retry-now` has it try at once"})
}

// LeaveBreakers ends what waits to tell of breakers.
func (o *Observer) LeaveBreakers() {
	for _, s := range o.consumers {
		s.end()
	}
}

// standstill is the time in which a consumer's breaker is not closed.
type standstill struct {
	mu   sync.Mutex
	late *time.Timer // nil: it is closed
}

// begin notes that it is not. Where it was until now, opened is called, and stays once, later, if it
// has not closed after long.
func (s *standstill) begin(long time.Duration, opened func(), stays func(since time.Time)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.late != nil {
		return
	}
	opened()
	since := time.Now()
	var late *time.Timer
	late = time.AfterFunc(long, func() {
		s.mu.Lock()
		same := s.late == late
		s.mu.Unlock()
		if same {
			stays(since)
		}
	})
	s.late = late
}

// end notes that it is closed, and reports whether it was not.
func (s *standstill) end() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.late == nil {
		return false
	}
	s.late.Stop()
	s.late = nil
	return true
}
