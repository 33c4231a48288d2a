package keeper

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// Op records of many IDs, whose halves do not come.
func TestOpsTakeBoundedMemory(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"v":1,"commit":["x"`)
	for i := 1_000_000; b.Len() < wire.MaxOpRecord-16; i++ {
		b.WriteString(`,"` + strconv.FormatInt(int64(i), 36) + `"`)
	}
	b.WriteString(`]}`)
	core := newKeeperCore(keeperLimits{window: 2000, checkAfter: time.Minute, orphanAfter: time.Minute,
		bytes: 64 << 20})
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc >> 20
	}
	before := heap()
	for tag := range uint64(30) {
		txs, err := wire.DecodeOp(amqp.Table{wire.HeaderVersion: wire.Version, wire.HeaderGroup: "g"},
			[]byte(b.String()), "g")
		require.NoError(t, err)
		core.onOp(txs, tag, time.Now())
		require.LessOrEqual(t, core.opBytes, core.limits.ofOps())
	}
	require.Less(t, int64(heap())-int64(before), int64(64), "MiB, the limit for all records of a Keeper")
	runtime.KeepAlive(core)

	// Of two small ones the older is forgotten first.
	core = newKeeperCore(keeperLimits{window: 2000, checkAfter: time.Minute, orphanAfter: time.Minute})
	var many []string
	for i := range 3000 {
		many = append(many, strconv.Itoa(i))
	}
	require.Empty(t, core.onOp(many, 1, time.Now()).acks)
	require.Equal(t, []uint64{1}, core.onOp([]string{strings.Repeat("x", 1<<20-2900*258), "y"}, 2, time.Now()).acks)
	require.Equal(t, 1, core.onHalf(halfArrival{tx: "y", tag: 3}, time.Now()).matched)

	_, err := wire.DecodeOp(amqp.Table{wire.HeaderVersion: wire.Version, wire.HeaderGroup: "g"},
		make([]byte, wire.MaxOpRecord+1), "g")
	require.ErrorContains(t, err, "the limit is")
	long := wire.OpRecord{}
	for i := range 10_000 {
		long.Commit = append(long.Commit, strings.Repeat("<", 90)+strconv.Itoa(i))
	}
	n := 0
	for _, msg := range wire.EncodeOps("g", long) {
		txs, err := wire.DecodeOp(msg.Headers, msg.Body, "g")
		require.NoError(t, err)
		n += len(txs)
	}
	require.Equal(t, len(long.Commit), n)
}
