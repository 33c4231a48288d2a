package sagaexpress

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
)

// takeWait is how long a step that is under way is waited for.
const takeWait = 5 * time.Second

// Owner has workflows drive sagas that a process may have begun.
type Owner struct {
	// DB is where the begin rows are, Database its identity. Required.
	DB       *gorm.DB
	Database string
	// OtherDatabase, if not nil, is told of a saga that was begun in another database.
	OtherDatabase func(err *barrier.OtherDatabaseError)
}

// Own makes a workflow the one that drives a saga; see [activities.SagaOwn].
func (o Owner) Own(ctx context.Context, in activities.SagaOwning) (out activities.SagaOwned, err error) {
	if in.Saga.Database != "" && in.Saga.Database != o.Database {
		other := &barrier.OtherDatabaseError{Have: o.Database, Want: in.Saga.Database}
		if o.OtherDatabase != nil {
			o.OtherDatabase(other)
		}
		return out, temporal.NewApplicationError(other.Error(), activities.OtherDatabaseType)
	}
	out.Database = o.Database
	if in.Undo {
		if err := barrier.ReopenSaga(ctx, o.DB, in.Saga.ID, in.Saga.Content, true, takeWait); err != nil {
			return out, err
		}
	}
	start := holdfast.SagaStart{Name: in.Saga.Name, Version: in.Saga.Version, Key: in.Saga.Key}
	found, took, err := barrier.TakeSaga(ctx, o.DB, in.Saga.ID, "", barrier.BegunSaga{SagaStart: start,
		Content: in.Saga.Content}, takeWait)
	switch {
	case errors.Is(err, holdfast.ErrDuplicate):
		if !in.Undo { // what that undoes, its own rows say
			out.Other = fmt.Sprintf("%v", err)
		}
		return out, nil
	case err != nil:
		return out, err
	case found.Last != nil:
		out.Ended, out.Version = found.Last, found.Version
		return out, barrier.ReopenSaga(ctx, o.DB, in.Saga.ID, found.Content, false, takeWait)
	case len(found.State) > 0 && (took || !in.Undo): // a workflow keeps no state in the row
		out.Begun, out.Version = true, found.Version
	}
	return out, nil
}
