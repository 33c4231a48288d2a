package sagas

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	sdkworker "go.temporal.io/sdk/worker"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/bench/internal/child"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
	"github.com/holdfastmq/holdfast/worker"
)

// participantEnv says which way a child process takes part in sagas:
// participantWorker or participantActivities. participantDatabaseEnv is its
// database, participantNameEnv the competitor it is part of.
const (
	participantEnv         = "HOLDFAST_BENCH_PARTICIPANT"
	participantDatabaseEnv = "HOLDFAST_BENCH_PARTICIPANT_DATABASE"
	participantNameEnv     = "HOLDFAST_BENCH_PARTICIPANT_NAME"

	participantWorker     = "worker"     // a Holdfast worker with two participants
	participantActivities = "activities" // a Temporal worker with their activities
	participantBranches   = "branches"   // their branches, for dtm
)

// participantWork is what the participants do, by step.
var participantWork = map[string]struct {
	do, undo func(*gorm.DB, order) error
}{
	stepReserve: {reserve, unreserve},
	stepCharge:  {charge, refund},
}

// participantLadder is a participant's default.
var participantLadder = []time.Duration{time.Second, 5 * time.Second, 30 * time.Second}

// Participant is the role of the participants' process.
var Participant = child.Role{Env: participantEnv, Run: runParticipant}

// runParticipant says where it is, if that has to be known, and takes part until in ends.
func runParticipant(way string, in io.Reader, out io.Writer) error {
	db, err := servers.OpenPool(os.Getenv(participantDatabaseEnv), servers.PoolSize)
	if err != nil {
		return err
	}
	var stop func()
	address := ""
	switch name := os.Getenv(participantNameEnv); way {
	case participantActivities:
		stop, err = startParticipantActivities(db, name)
	case participantBranches:
		address, stop, err = startParticipantBranches(db)
	default:
		stop, err = startParticipantWorker(db, name)
	}
	if err != nil {
		return err
	}
	defer stop()
	if err := json.NewEncoder(out).Encode(address); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// startParticipantWorker takes part as an application does that knows Holdfast
// only: it has no Temporal.
func startParticipantWorker(db *gorm.DB, competitor string) (stop func(), err error) {
	w, err := worker.New(worker.Options{DB: db, Prefix: os.Getenv("HOLDFAST_PREFIX")})
	if err != nil {
		return nil, err
	}
	for step, f := range participantWork {
		topic, undo := topicsOf(competitor, step)
		w.Participate(worker.Participant{Name: topic, Topic: topic,
			UndoTopic: undo, Do: participation(f.do), Undo: participation(f.undo)})
	}
	return servers.RunWorker(context.Background(), w)
}

func participation(f func(*gorm.DB, order) error) worker.Participation {
	return worker.TypedParticipation(func(_ context.Context, tx *gorm.DB, o order) (any, error) {
		return nil, f(tx, o)
	})
}

// topicsOf are the topics of a competitor's message step.
func topicsOf(competitor, step string) (do, undo string) {
	return competitor + "." + step, competitor + "." + step + ".undo"
}

// startParticipantActivities takes part as an application does that knows
// Temporal only.
func startParticipantActivities(db *gorm.DB, competitor string) (stop func(), err error) {
	temporal, err := child.Temporal()
	if err != nil {
		return nil, err
	}
	w := sdkworker.New(temporal, participantQueue(os.Getenv("HOLDFAST_PREFIX"), competitor), sdkworker.Options{})
	w.RegisterActivity(&participantSteps{db})
	if err := w.Start(); err != nil {
		temporal.Close()
		return nil, err
	}
	return func() {
		w.Stop()
		temporal.Close()
	}, nil
}

// participantQueue is the task queue of a competitor's participants.
func participantQueue(prefix, competitor string) string {
	return prefix + "." + competitor + ".participants"
}

// participantSteps are the participants' activities.
type participantSteps struct{ db *gorm.DB }

func (p *participantSteps) Reserve(ctx context.Context, o order) error {
	return p.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return reserve(tx, o) })
}

func (p *participantSteps) Unreserve(ctx context.Context, o order) error {
	return p.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return unreserve(tx, o) })
}

func (p *participantSteps) Charge(ctx context.Context, o order) error {
	return p.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return charge(tx, o) })
}

func (p *participantSteps) Refund(ctx context.Context, o order) error {
	return p.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return refund(tx, o) })
}

// deleteAtEnd notes the queues that the participants of a competitor make: they
// are to be deleted at the end.
func deleteAtEnd(s *servers.Servers, competitor string) {
	for step := range participantWork {
		topic, _ := topicsOf(competitor, step)
		s.DeleteAtEnd(s.Broker.ConsumerQueue(topic))
	}
	s.DeleteRetriesAtEnd(participantLadder...)
}

// startParticipant starts such a process, and returns what it says first.
func startParticipant(ctx context.Context, s *servers.Servers,
	way, competitor, dsn string) (*child.Process, string, error) {
	var address string
	c, err := child.Start(ctx, s, &address, Participant, way,
		participantDatabaseEnv+"="+dsn, participantNameEnv+"="+competitor)
	if err != nil {
		return nil, "", fmt.Errorf("the participants' process: %w", err)
	}
	return c, address, nil
}
