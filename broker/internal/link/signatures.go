package link

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/guard"
)

// Signatures signs what a process publishes, and checks what it reads. A nil one does
// neither. Its methods may be called from many goroutines.
type Signatures struct {
	signer   holdfast.Signer
	required bool
	names    wire.Names
	log      *slog.Logger

	mu     sync.Mutex
	status wire.SigningStatus
	logged time.Time
	pauses map[string]bool // by ID: it was logged that its signature does not count
}

// NewSignatures is nil where nothing is signed.
func NewSignatures(s holdfast.Signer, mode holdfast.Signing, names wire.Names, log *slog.Logger) *Signatures {
	if s == nil || mode == holdfast.SigningOff {
		return nil
	}
	if mode == "" {
		mode = holdfast.SigningOn
	}
	return &Signatures{signer: guarded{s}, required: mode == holdfast.SigningRequired, names: names, log: log,
		status: wire.SigningStatus{Mode: mode}}
}

// guarded is the application's Signer: what it does wrong is an error of that one record.
type guarded struct{ of holdfast.Signer }

func (g guarded) Sign(data []byte) (key string, code []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("Options.Signer: %w", guard.Panicked(v))
		}
	}()
	key, code, err = g.of.Sign(data)
	return key, code, guard.Err(err)
}

func (g guarded) Check(key string, code, data []byte) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: Options.Signer: %w", holdfast.ErrForged, guard.Panicked(v))
		}
	}()
	return guard.Err(g.of.Check(key, code, data))
}

// Sign signs a record for its place, if it is one that is signed.
func (s *Signatures) Sign(exchange, key string, m *amqp.Publishing) error {
	if s == nil || !s.names.Signable(exchange, m.Headers) {
		return nil
	}
	name, err := wire.Sign(s.signer, exchange, key, m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.status.Key = name
	s.mu.Unlock()
	return nil
}

// Checker is nil where nothing is checked.
func (s *Signatures) Checker() wire.Checker {
	if s == nil {
		return nil
	}
	return s.check
}

// Answer says why an answer to a check-back does not count. Whichever way it comes, it is signed
// for the exchange of answers, without a routing key.
func (s *Signatures) Answer(d *amqp.Delivery) error {
	if s == nil {
		return nil
	}
	return s.check(s.names.AnswersExchange(), "", d)
}

// check notes what is not genuine, and says why it does not count.
func (s *Signatures) check(exchange, key string, d *amqp.Delivery) error {
	err := wire.CheckSignature(s.signer, exchange, key, d)
	if err == nil {
		return nil
	}
	s.note(exchange, d.MessageId, err, time.Now())
	if !s.required {
		return nil
	}
	return err
}

// maxPauses is of how many pauses it is known that they were logged.
const maxPauses = 1000

// Pause says why a pause, or its end, does not count. It is read anew with each connection, and
// stays in its stream for long: it is logged once, and is not among the records that were refused.
func (s *Signatures) Pause(exchange, key string, d *amqp.Delivery, p *wire.Pause) error {
	if s == nil {
		return nil
	}
	err := wire.CheckSignature(s.signer, exchange, key, d)
	if err == nil || !s.required {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pauses[p.ID] && len(s.pauses) < maxPauses {
		if s.pauses == nil {
			s.pauses = map[string]bool{}
		}
		s.pauses[p.ID] = true
		s.log.Warn("a pause by hand, or its end, is not heeded: its signature does not count; whoever meant it does it "+
			"again with HOLDFAST_SIGNING_KEYRING", "consumer", p.Consumer, "pause", p.ID, "end", p.Over, "by", p.By,
			"error", err)
	}
	return err
}

// notedAgain is how often what is not genuine is logged.
const notedAgain = 10 * time.Second

func (s *Signatures) note(exchange, message string, err error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.required {
		s.status.Refused++
	} else {
		s.status.Unsigned++
	}
	s.status.Last, s.status.From = now, wire.NameText(exchange)
	s.status.Why = wire.OneLine(err.Error(), wire.ShortReason)
	if now.Sub(s.logged) < notedAgain {
		return
	}
	s.logged = now
	if s.required {
		s.log.Warn("a record is refused: its signature does not count; see docs/signing.md for what becomes of it",
			"message", message, "exchange", exchange, "error", err, "refused so far", s.status.Refused)
		return
	}
	s.log.Info("a record counts although its signature does not, since signing is not required yet", "message", message,
		"exchange", exchange, "error", err, "so far", s.status.Unsigned)
}

// Status is nil where nothing is signed.
func (s *Signatures) Status() *wire.SigningStatus {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status
	return &status
}
