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

// Of a record of many, each half has its own line in memory: one that stays does not keep the
// others there.
func TestLineOfASharedRecord(t *testing.T) {
	session := &tenure{keeper: &keeper{o: Options{Group: "g"}}}
	d := &amqp.Delivery{MessageId: "a~1", DeliveryTag: 7, Body: []byte("{}\n{\"v\":1}"), Headers: amqp.Table{
		wire.HeaderVersion: "3", wire.HeaderGroup: "g", "holdfast-txs": "a b", wire.HeaderLane: "express"}}
	many, err := session.readMany(d)
	require.NoError(t, err)
	require.Equal(t, "a~1", many.name)
	require.Len(t, many.halves, 2)
	second := many.halves[1].record
	require.Nil(t, second.d.Body)
	require.LessOrEqual(t, cap(second.body), 16)
	d.Body[3] = '!'
	require.Equal(t, `{"v":1}`, string(second.line()), "a copy")
	alone := second.delivery()
	require.Equal(t, "b", alone.MessageId)
	require.Equal(t, `{"v":1}`, string(alone.Body))
	require.Equal(t, amqp.Table{wire.HeaderKind: wire.KindHalf, wire.HeaderVersion: "1", wire.HeaderTx: "b", wire.HeaderGroup: "g",
		wire.HeaderLane: "express"}, alone.Headers)
}

// The window is of records: what it holds of records of many is bounded, too.
func TestFullWindowOfSharedRecords(t *testing.T) {
	core := newKeeperCore(keeperLimits{window: 2000, checkAfter: time.Minute, orphanAfter: time.Minute, recallAfter: time.Minute,
		sweepMax: 200, sweepBytes: 512 << 10, sweeps: 0, bytes: 4 << 20})
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for tag := range uint64(2000) {
		a := manyArrival{name: strconv.Itoa(int(tag)), tag: tag}
		for i := range 48 {
			tx := "01a1fcae-178d-7d58-b8c5-" + strconv.Itoa(1e9+int(tag)*48+i)
			a.halves = append(a.halves, halfArrival{tx: tx, size: 500, record: &heldRecord{tx: tx, body: make([]byte, 500)}})
		}
		core.onMany(a, time.Now())
	}
	grown := heap() - before
	require.Less(t, grown>>20, int64(80), "MiB, with 3 MiB of records")
	t.Logf("%d bytes for each of %d half messages", grown/int64(len(core.halves)), len(core.halves))
	require.LessOrEqual(t, core.bytes, 3<<20)
	runtime.KeepAlive(core)
}
