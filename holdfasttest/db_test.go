package holdfasttest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/holdfasttest"
)

type item struct {
	ID    uint
	Name  string `gorm:"uniqueIndex"`
	Count int
	At    time.Time
}

func TestNewDB(t *testing.T) {
	db := holdfasttest.NewDB(t)
	require.NoError(t, db.AutoMigrate(&item{}))
	require.NoError(t, db.AutoMigrate(&item{}), "twice")
	now := time.Now()
	require.NoError(t, db.Create(&item{Name: "a", Count: 1, At: now}).Error)
	require.ErrorContains(t, db.Create(&item{Name: "a"}).Error, "UNIQUE")
	require.NoError(t, db.Exec("UPDATE items SET count = count + $1 WHERE name = $2", 4, "a").Error)
	var found item
	require.NoError(t, db.First(&found, "name = ?", "a").Error)
	require.Equal(t, 5, found.Count)
	require.WithinDuration(t, now, found.At, 0)

	other := holdfasttest.NewDB(t)
	require.Error(t, other.First(&found).Error, "databases are apart")

	r := barrier.Run(t.Context(), db, barrier.Local{TxID: "t1", Group: "g", Messages: []holdfast.Message{{ID: "t1", Topic: "a"}}},
		func(_ context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
			ms[0].Key = "K"
			return tx.Exec("UPDATE items SET count = 0").Error
		})
	require.NoError(t, r.Err)
	row, err := barrier.Read(t.Context(), db, "t1")
	require.NoError(t, err)
	require.Equal(t, "K", row.Messages[0].Key)
	require.WithinDuration(t, now, row.CreatedAt, time.Hour)
	row, err = barrier.CheckBack(t.Context(), db, "t1", "g", 0)
	require.NoError(t, err)
	require.Equal(t, holdfast.Commit, row.Resolution)
	row, err = barrier.CheckBack(t.Context(), db, "t2", "g", 0)
	require.NoError(t, err)
	require.Equal(t, holdfast.Rollback, row.Resolution)
}

func TestADatabaseInMemoryOutlivesACancelledTransaction(t *testing.T) {
	db := holdfasttest.NewDB(t)
	require.NoError(t, db.AutoMigrate(&item{}))
	ctx, cancel := context.WithCancel(t.Context())
	pool, err := db.DB()
	require.NoError(t, err)
	tx, err := pool.BeginTx(ctx, nil)
	require.NoError(t, err)
	_, err = tx.Exec("INSERT INTO items (name) VALUES ('a')")
	require.NoError(t, err)
	cancel() // database/sql rolls back and closes the connection
	require.Error(t, tx.Commit())
	var n int64
	require.NoError(t, db.Model(&item{}).Count(&n).Error)
	require.Zero(t, n)
}

func TestWritingBesideTheTransactionIsAnError(t *testing.T) {
	db := holdfasttest.NewDB(t)
	require.NoError(t, db.AutoMigrate(&item{}))
	_, err := barrier.Consume(t.Context(), db, "c", "m", func(context.Context, *gorm.DB) error {
		return db.Create(&item{Name: "a"}).Error
	})
	require.ErrorContains(t, err, "write with the tx")
	require.NoError(t, db.Create(&item{Name: "a"}).Error)
}
