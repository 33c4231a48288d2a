package worker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// anotherLetter waits for a letter that is none of these, and returns what its
// workflow's ID has after the consumer.
func (s *site) anotherLetter(known ...string) (message string) {
	s.t.Helper()
	begin := s.deadID("payments", "")
	until(s.t, fmt.Sprintf("a letter beside %v", known), func() bool {
		for _, id := range s.letters() {
			if message = strings.TrimPrefix(id, begin); !slices.Contains(known, message) {
				return true
			}
		}
		return false
	})
	s.awaitLetter("payments", message, workflows.Parked)
	return message
}

func (s *site) settled(message string) {
	s.t.Helper()
	_, err := s.askLetter("payments", message, deadletters.UpdateDiscard)
	require.NoError(s.t, err)
	s.awaitLetter("payments", message, workflows.Discarded)
}

// TestReproT12Equal: foreign messages without an ID, with equal bodies. Each is a
// message, before and after another one was settled.
func TestReproT12Equal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b, _, _ := s.refusing()
	tick := func() { s.foreign(b, amqp.Publishing{Body: []byte("tick")}) }
	tick()
	first := s.anotherLetter()
	s.settled(first)
	tick() // an hour later
	second := s.anotherLetter(first)
	tick()
	third := s.anotherLetter(first, second)
	require.Equal(t, workflows.Parked, s.letter("payments", second).State)
	require.NotEqual(t, second, third)
}

// TestDeadLettersOfOneID: what has a settled letter's ID, or an open one's and other
// content, parks by itself; a copy of an open one is counted there. Each answers its own
// redelivery.
func TestDeadLettersOfOneID(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	trouble := broken(holdfast.Permanent(errOops))
	s.consuming(failing(s.effects, trouble))
	s.compensating()
	b, id := s.broker(), newID()
	send := func(body string) { s.foreign(b, amqp.Publishing{MessageId: id, Body: []byte(body)}) }
	send("a")
	require.Equal(t, id, s.anotherLetter())
	send("a")
	until(t, "the copy is counted", func() bool { return s.letter("payments", id).Duplicates == 1 })

	send("b") // somebody else's
	other := s.anotherLetter(id)
	send("b")
	until(t, "its copy is counted there", func() bool { return s.letter("payments", other).Duplicates == 1 })
	require.Equal(t, 1, s.letter("payments", id).Duplicates)

	s.settled(id)
	send("a")
	again := s.anotherLetter(id, other)
	redeliver := func() {
		_, err := s.askLetter("payments", again, deadletters.UpdateRedeliver)
		require.NoError(t, err)
	}
	redeliver()
	until(t, "it dies again", func() bool {
		l := s.letter("payments", again)
		return l.State == workflows.Parked && l.Redeliveries == 1
	})
	trouble.Store(nil)
	redeliver()
	s.awaitLetter("payments", again, workflows.Handled)
	require.Equal(t, workflows.Parked, s.letter("payments", other).State)
	require.Equal(t, 1, s.effected(id))
	require.Len(t, s.letters(), 3)
}
