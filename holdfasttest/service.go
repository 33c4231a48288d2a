package holdfasttest

import (
	"fmt"
	"strings"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// Service is a service with a database of its own, in a kit: what another package
// registers with its worker, it registers here. It is a [worker.Registry].
type Service struct {
	k  *Kit
	db *gorm.DB
}

var _ worker.Registry = (*Service)(nil)

// Service returns a service whose database is db; nil: one in memory. What is
// registered without a database of its own uses that.
func (k *Kit) Service(db *gorm.DB) *Service {
	k.t.Helper()
	if db == nil {
		db = NewDB(k.t)
	}
	return &Service{k, db}
}

// DB returns the service's database.
func (s *Service) DB() *gorm.DB { return s.db }

// Participate is [Kit.Participate].
func (s *Service) Participate(p worker.Participant) {
	s.k.t.Helper()
	if p.DB == nil {
		p.DB = s.db
	}
	s.k.Participate(p)
}

// Consume is [Kit.Consume].
func (s *Service) Consume(c worker.Consumer) {
	s.k.t.Helper()
	if c.DB == nil {
		c.DB = s.db
	}
	s.k.Consume(c)
}

// Saga is [Kit.Saga]: local steps use the kit's database.
func (s *Service) Saga(def saga.Definition) {
	s.k.t.Helper()
	s.k.Saga(def)
}

// Activity is [Kit.Activity].
func (s *Service) Activity(name string, f any) { s.k.Activity(name, f) }

// Compensate is [Kit.Compensation]: it runs in the kit's database, where the local
// transaction was.
func (s *Service) Compensate(topic string, do worker.Compensation) {
	s.k.t.Helper()
	s.k.Compensation(topic, do)
}

// Compensation registers what undoes the local transaction of the kit's messages of
// topic, as [worker.Worker.Compensate] does. It runs where a consumer gave such a
// message up, and its policy or [DeadLetter.Compensate] asks for it.
func (k *Kit) Compensation(topic string, do worker.Compensation) {
	k.t.Helper()
	if topic == "" || do == nil || strings.ContainsAny(topic, "*#") || k.undoes[topic] != nil {
		k.t.Fatal(fmt.Errorf("%w: Compensation %q needs one topic, which has none yet, and a function",
			holdfast.ErrInvalid, topic))
	}
	k.undoes[topic] = do
}
