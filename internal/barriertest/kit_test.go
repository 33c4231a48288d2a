package barriertest_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga"
)

// The testing kit takes a PostgreSQL, too.
func TestKitOnPostgreSQL(t *testing.T) {
	type state struct{}
	db := migrated(t, stacktest.Database(t, stacktest.Shared(t)))
	require.NoError(t, db.Exec("CREATE TABLE effects (what text)").Error)
	step := func(name string) saga.StepDef {
		write := func(what string) func(context.Context, *gorm.DB, *state) error {
			return func(_ context.Context, tx *gorm.DB, _ *state) error {
				return tx.Exec("INSERT INTO effects VALUES (?)", what+" "+name).Error
			}
		}
		return saga.Local(name, write("do"), write("undo"))
	}
	k := holdfasttest.NewWith(t, holdfasttest.Options{DB: db, Group: "orders"})
	k.LoseDo("a").Times(1)
	k.FailDo("c", saga.Refuse("no"))
	res := holdfasttest.RunSaga(k, saga.Saga[state]{Name: "s", Steps: []saga.Step[state]{saga.Parallel("both", step("a"), step("b")), step("c")}}, state{})
	require.ErrorIs(t, res.Err, holdfast.ErrSagaCompensated)
	var effects []string
	require.NoError(t, db.Raw("SELECT what FROM effects").Scan(&effects).Error)
	require.Equal(t, []string{"do a", "do b", "undo b", "undo a"}, effects)

	k.Listen("order.placed")
	sent := k.Send(holdfast.Message{Topic: "order.placed"}, func(_ context.Context, tx *gorm.DB, _ *holdfast.Message) error {
		return tx.Exec("INSERT INTO effects VALUES ('placed')").Error
	})
	require.NoError(t, sent.Err)
}
