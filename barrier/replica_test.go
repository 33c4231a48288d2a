package barrier_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/plugin/dbresolver"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

// Holdfast reads its rows where it writes them, however the application spreads its
// own reads: a replica may be late.
func TestReplicas(t *testing.T) {
	t.Parallel()
	db, _ := migrated(t)
	replica, err := open(t, databaseURL(t), nil).DB() // which has nothing
	require.NoError(t, err)
	require.NoError(t, db.Use(dbresolver.Register(dbresolver.Config{Replicas: []gorm.Dialector{postgres.New(postgres.Config{Conn: replica})}})))

	require.NoError(t, barrier.Run(t.Context(), db, local("t1"), placing("t1")).Err)
	requireRow(t, db, "t1", holdfast.Commit)
	groups, err := barrier.RecentGroups(t.Context(), db)
	require.NoError(t, err)
	require.Equal(t, []string{group}, groups)
	require.NoError(t, barrier.SaveConsumers(t.Context(), db, "p", []barrier.KnownConsumer{{Name: "billing", Topics: []string{"a.#"}}}))
	require.NoError(t, barrier.NoteRemade(t.Context(), db, "p", []string{"billing"}, "made again"))
	known, err := barrier.KnownConsumers(t.Context(), db, "p")
	require.NoError(t, err)
	require.Len(t, known, 1)
	require.Equal(t, "made again", known[0].What)
	was, err := barrier.ForgetConsumer(t.Context(), db, "p", "billing")
	require.NoError(t, err)
	require.True(t, was)
	id, err := barrier.Identity(t.Context(), db)
	require.NoError(t, err)
	require.NotEmpty(t, id)
	_, err = barrier.Clock(t.Context(), db)
	require.NoError(t, err)
	require.NoError(t, barrier.CheckMigrated(t.Context(), db))
	checked, errs := barrier.CheckBackAll(t.Context(), db, []string{"t1"}, group, 0)
	require.Len(t, checked, 1)
	require.NoError(t, errs[0])
}
