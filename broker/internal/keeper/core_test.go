package keeper

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// TestKeeperScenarios runs the scripts in testdata. A line is an event
// and, behind the arrow, everything that the Keeper then does. Records are
// called by their transaction (A), duplicates with a stroke (A'), op records
// and malformed ones by number (op1, bad1).
func TestKeeperScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			s := newKeeperScript()
			for i, line := range strings.Split(string(text), "\n") {
				line, _, _ = strings.Cut(line, "#")
				if strings.TrimSpace(line) == "" {
					continue
				}
				event, want, ok := strings.Cut(line, "→")
				require.Truef(t, ok || strings.HasPrefix(line, "limits"), "line %d has no arrow", i+1)
				got, err := s.run(strings.Fields(event))
				require.NoErrorf(t, err, "line %d: %s", i+1, line)
				require.Equalf(t, strings.TrimSpace(want), got, "line %d: %s", i+1, line)
			}
		})
	}
}

type keeperScript struct {
	core  *keeperCore
	now   time.Time
	names map[uint64]string
	tags  map[string]uint64
	last  uint64
	count map[string]int
	open  [][]*heldHalf
}

var testLimits = keeperLimits{window: 100, checkAfter: 10 * time.Second, orphanAfter: 10 * time.Second,
	recallAfter: 10 * time.Second, sweepMax: 10, sweepBytes: 1000, sweeps: 4, bytes: 1 << 20}

func newKeeperScript() *keeperScript {
	return &keeperScript{core: newKeeperCore(testLimits), now: time.Unix(0, 0), names: map[uint64]string{},
		tags: map[string]uint64{}, count: map[string]int{}}
}

func (s *keeperScript) tag(name string) uint64 {
	s.last++
	s.names[s.last], s.tags[name] = name, s.last
	return s.last
}

func (s *keeperScript) run(words []string) (string, error) {
	var e keeperEffects
	switch words[0] {
	case "limits":
		for _, w := range words[1:] {
			k, v, _ := strings.Cut(w, "=")
			n, _ := strconv.Atoi(v)
			switch k {
			case "join":
				s.core.limits.join, _ = time.ParseDuration(v)
			case "window":
				s.core.limits.window = n
			case "sweep":
				s.core.limits.sweepMax = n
			case "bytes":
				s.core.limits.sweepBytes = n
			case "sweeps":
				s.core.limits.sweeps = n
			case "held":
				s.core.limits.bytes = n
			default:
				return "", fmt.Errorf("unknown limit %s", k)
			}
		}
		return "", nil
	case "half":
		size := 1
		if len(words) > 2 {
			size, _ = strconv.Atoi(words[2])
		}
		tx := words[1]
		name := tx + strings.Repeat("'", s.count[tx])
		s.count[tx]++
		e = s.core.onHalf(halfArrival{tx: tx, tag: s.tag(name), size: size, record: &heldRecord{d: &amqp.Delivery{}}}, s.now)
	case "many": // many R A B 40 C: the record R has A, B of 40 bytes and C
		name := words[1] + strings.Repeat("'", s.count[words[1]])
		s.count[words[1]]++
		a := manyArrival{name: words[1], tag: s.tag(name)}
		for _, w := range words[2:] {
			if n, err := strconv.Atoi(w); err == nil {
				a.halves[len(a.halves)-1].size = n
				continue
			}
			a.halves = append(a.halves, halfArrival{tx: w, size: 1, record: &heldRecord{tx: w, d: &amqp.Delivery{}}})
		}
		e = s.core.onMany(a, s.now)
	case "op":
		s.count["op"]++
		e = s.core.onOp(words[1:], s.tag("op"+strconv.Itoa(s.count["op"])), s.now)
	case "malformed":
		s.count["bad"]++
		s.tag("bad" + strconv.Itoa(s.count["bad"]))
		s.core.onBad()
	case "buried":
		e = s.core.onBuried(s.tags[words[1]])
	case "wait":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			return "", err
		}
		s.now = s.now.Add(d)
	case "taken", "refused", "result": // result A=taken B=refused
		return s.result(words)
	case "another": // process can hand over: look in a second
		s.core.retry(s.now.Add(time.Second))
	case "next":
		at := s.core.next()
		if at.IsZero() {
			return "never", nil
		}
		return "in " + at.Sub(s.now).String(), nil
	default:
		return "", fmt.Errorf("unknown event %s", words[0])
	}
	return s.effects(e), nil
}

func (s *keeperScript) result(words []string) (string, error) {
	outcomes := map[string]string{}
	var first string
	for i, w := range words[1:] {
		tx, how, ok := strings.Cut(w, "=")
		if !ok {
			how = words[0]
		}
		if i == 0 {
			first = tx
		}
		outcomes[tx] = how
	}
	for i, sweep := range s.open {
		if sweep[0].tx != first {
			continue
		}
		s.open = slices.Delete(s.open, i, i+1)
		errs := make([]error, len(sweep))
		for j, held := range sweep {
			switch outcomes[held.tx] {
			case "taken":
			case "malformed":
				errs[j] = errBuried
			case "refused":
				errs[j] = os.ErrInvalid
			default:
				return "", fmt.Errorf("no result for %s", held.tx)
			}
		}
		return s.effects(s.core.onHandedOver(sweep, errs, s.now)), nil
	}
	return "", fmt.Errorf("no hand-over begins with %s", first)
}

// effects describes what e and then due say.
func (s *keeperScript) effects(e keeperEffects) string {
	due := s.core.due(s.now)
	var out []string
	if e.held {
		out = append(out, "hold")
	}
	if acks := append(e.acks, due.acks...); len(acks) > 0 {
		names := make([]string, len(acks))
		for i, tag := range acks {
			names[i] = s.names[tag]
		}
		out = append(out, "ack "+strings.Join(names, " "))
	}
	if recalls := append(e.recalls, due.recalls...); len(recalls) > 0 {
		names := make([]string, len(recalls))
		for i, tag := range recalls {
			names[i] = s.names[tag]
		}
		out = append(out, "recall "+strings.Join(names, " "))
	}
	if n := e.orphaned + due.orphaned; n > 0 {
		out = append(out, fmt.Sprintf("orphans %d", n))
	}
	for _, pause := range e.retries {
		out = append(out, "again in "+pause.String())
	}
	for _, sweep := range due.sweeps {
		names := make([]string, len(sweep))
		for i, held := range sweep {
			names[i] = held.tx
		}
		s.open = append(s.open, sweep)
		out = append(out, "hand over "+strings.Join(names, " "))
	}
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, ", ")
}

// model checks a random run: what it acknowledges, and why it may.
type model struct {
	t       require.TestingT
	held    map[uint64]string   // tag → transaction, or "op"/"bad"/"many"
	many    map[uint64][]string // tag → transactions of a record of many
	settled map[string]bool     // an op record named it
	taken   map[string]bool     // a hand-over of it succeeded
	acked   map[uint64]bool
	ops     map[uint64][]string
	awaits  map[uint64][]uint64 // op → records of many of which it settled a part
	arrived map[uint64]time.Time
	buried  map[uint64]bool // its record turned out to be malformed
	// buriedOf are the transactions with such a record.
	buriedOf map[string]bool
	back     []string   // transactions whose records were recalled, and come again
	again    [][]string // such records of many
}

func (m *model) effects(e keeperEffects, now time.Time, orphanAfter time.Duration, pressed bool) {
	for _, tag := range e.acks {
		what, ok := m.held[tag]
		require.Truef(m.t, ok, "tag %d acknowledged twice, or never delivered", tag)
		delete(m.held, tag)
		switch what {
		case "op":
			if !pressed {
				for _, many := range m.awaits[tag] {
					require.NotContainsf(m.t, m.held, many, "op %d acknowledged before record %d, of which it settled a part",
						tag, many)
				}
			}
			if now.Sub(m.arrived[tag]) < orphanAfter && !pressed {
				for _, tx := range m.ops[tag] {
					require.Truef(m.t, m.met(tx), "op %d acknowledged while %s never came", tag, tx)
				}
			}
		case "bad":
		case "many":
			for _, tx := range m.many[tag] {
				require.Truef(m.t, m.settled[tx] || m.taken[tx] || m.buriedOf[tx],
					"half %s of a record of many acknowledged without op or hand-over", tx)
			}
		default:
			require.Truef(m.t, m.settled[what] || m.taken[what] || m.buried[tag],
				"half %s acknowledged without op or hand-over", what)
		}
		m.acked[tag] = true
	}
	for _, tag := range e.recalls {
		require.Containsf(m.t, m.held, tag, "tag %d recalled, but it is not held", tag)
		if m.held[tag] == "many" {
			m.again = append(m.again, m.many[tag])
		} else {
			m.back = append(m.back, m.held[tag])
		}
		delete(m.held, tag)
	}
}

func (m *model) met(tx string) bool { return m.arrived[halfKey(tx)] != (time.Time{}) }

func halfKey(tx string) uint64 {
	n, _ := strconv.ParseUint(tx, 10, 64)
	return 1<<40 + n
}

// runKeeper lets the bytes of script decide what happens.
func runKeeper(t require.TestingT, script []byte) {
	limits := keeperLimits{window: 12, checkAfter: 10 * time.Second, join: time.Second, orphanAfter: 10 * time.Second,
		recallAfter: 10 * time.Second, sweepMax: 3, sweepBytes: 50, sweeps: 2, bytes: 400}
	m := &model{t: t, settled: map[string]bool{}, taken: map[string]bool{}, buried: map[uint64]bool{},
		buriedOf: map[string]bool{}}
	var core *keeperCore
	var open [][]*heldHalf
	now := time.Unix(0, 0)
	var tag uint64
	reset := func() { // the channel was lost: everything unacknowledged comes again
		core, open, m.back, m.again, m.many = newKeeperCore(limits), nil, nil, nil, map[uint64][]string{}
		m.awaits = map[uint64][]uint64{}
		m.held, m.acked, m.ops, m.arrived = map[uint64]string{}, map[uint64]bool{}, map[uint64][]string{},
			map[uint64]time.Time{}
	}
	reset()
	step := func(e keeperEffects) {
		pressed := core.tags*10 >= limits.window*9
		m.effects(e, now, limits.orphanAfter, pressed)
		due := core.due(now)
		m.effects(due, now, limits.orphanAfter, pressed)
		open = append(open, due.sweeps...)
		require.LessOrEqual(t, len(open), limits.sweeps)
		for _, sweep := range due.sweeps {
			require.LessOrEqual(t, len(sweep), limits.sweepMax)
			size := 0
			for _, held := range sweep {
				size += held.size
				require.NotNil(t, held.record, "nothing is handed over without its record")
			}
			require.True(t, size <= limits.sweepBytes || len(sweep) == 1)
		}
		require.Equal(t, len(m.held), core.tags, "held records")
		size := 0
		for _, held := range core.halves {
			if held.record != nil {
				size += held.size
			}
		}
		require.Equal(t, size, core.bytes)
		requireHanding(t, core)
		most := limits.bytes
		if len(m.buriedOf) > 0 {
			most *= 2 // duplicates of what was malformed are given back at once, with what is in their records
		}
		require.LessOrEqual(t, core.bytes+core.recalling, most)
		if next := core.next(); !next.IsZero() && !next.After(now) {
			more := core.due(now)
			require.True(t, len(more.acks)+len(more.sweeps)+len(more.recalls) > 0,
				"next says now, but nothing is due: the Keeper would spin")
			m.effects(more, now, limits.orphanAfter, pressed)
			open = append(open, more.sweeps...)
		}
	}
	deliverHalf := func(tx string, size int) {
		tag++
		m.held[tag] = tx
		m.arrived[halfKey(tx)] = now
		step(core.onHalf(halfArrival{tx: tx, tag: tag, size: size, record: &heldRecord{d: &amqp.Delivery{}}}, now))
	}
	deliverMany := func(txs []string) {
		tag++
		m.held[tag], m.many[tag] = "many", txs
		a := manyArrival{name: strings.Join(txs, " "), tag: tag}
		for _, tx := range txs {
			n, _ := strconv.Atoi(tx)
			m.arrived[halfKey(tx)] = now
			a.halves = append(a.halves, halfArrival{tx: tx, size: 10 + 6*n, record: &heldRecord{tx: tx, d: &amqp.Delivery{}}})
		}
		step(core.onMany(a, now))
	}
	comesBack := func() {
		if len(m.again) > 0 {
			txs := m.again[0]
			m.again = m.again[1:]
			deliverMany(txs)
			return
		}
		tx := m.back[0]
		m.back = m.back[1:]
		n, _ := strconv.Atoi(tx)
		deliverHalf(tx, 10+6*n)
	}
	finish := func(i int, how func(tx string) error) {
		sweep := open[i]
		open = slices.Delete(open, i, i+1)
		errs := make([]error, len(sweep))
		for j, held := range sweep {
			errs[j] = how(held.tx)
			switch {
			case errs[j] == nil:
				m.taken[held.tx] = true
			case errs[j] == errBuried && held.state == halfHanding:
				if len(held.tags) > 0 {
					m.buried[held.tags[0]] = true
				}
				m.buriedOf[held.tx] = true
			}
		}
		step(core.onHandedOver(sweep, errs, now))
	}
	for i := 0; i+1 < len(script); i += 2 {
		arg := int(script[i+1])
		tx := strconv.Itoa(arg % 16)
		full := core.tags >= limits.window
		if len(m.back)+len(m.again) > 0 && arg%3 > 0 {
			comesBack()
			continue
		}
		switch script[i] % 11 {
		case 9, 10:
			if !full {
				var txs []string
				for j := range 2 + arg%3 {
					txs = append(txs, strconv.Itoa((arg+3*j)%16))
				}
				deliverMany(txs)
			}
		case 0, 1, 2:
			if !full {
				n, _ := strconv.Atoi(tx)
				deliverHalf(tx, 10+6*n)
			}
		case 3, 4:
			if full {
				continue
			}
			var txs []string
			for j := range 1 + arg%3 {
				txs = append(txs, strconv.Itoa((arg+5*j)%16))
			}
			for _, tx := range txs {
				m.settled[tx] = true
			}
			tag++
			m.held[tag], m.ops[tag], m.arrived[tag] = "op", txs, now
			for _, tx := range txs {
				if held := core.halves[tx]; held != nil {
					for _, other := range held.tags {
						if core.shares[other] != nil {
							m.awaits[tag] = append(m.awaits[tag], other)
						}
					}
				}
			}
			step(core.onOp(txs, tag, now))
		case 5:
			now = now.Add(time.Duration(arg%30) * 100 * time.Millisecond)
			step(keeperEffects{})
		case 6:
			if len(open) > 0 {
				finish(arg%len(open), func(tx string) error {
					n, _ := strconv.Atoi(tx)
					return []error{os.ErrInvalid, nil, nil, errBuried}[(n+arg)%4]
				})
			}
		case 7:
			if arg%8 == 0 {
				reset()
			} else if !full {
				tag++
				m.held[tag] = "bad"
				core.onBad()
				step(core.onBuried(tag))
			}
		case 8:
			if at := core.next(); !at.IsZero() && at.After(now) {
				now = at
				step(keeperEffects{})
			}
		}
	}
	// From here on everything is taken over: nothing may stay.
	for range 200 {
		for len(m.back)+len(m.again) > 0 {
			comesBack()
		}
		for len(open) > 0 {
			finish(0, func(string) error { return nil })
		}
		at := core.next()
		if at.IsZero() {
			break
		}
		if at.After(now) {
			now = at
		}
		step(keeperEffects{})
	}
	require.Empty(t, m.held, "records stay held for ever")
	require.Empty(t, core.shares)
	require.Empty(t, core.away)
	require.Zero(t, core.tags)
	require.Zero(t, core.handing)
	require.Zero(t, core.openOps)
	require.Empty(t, core.halves)
	require.Empty(t, core.recalled)
	require.Zero(t, core.bytes+core.recalling)
	require.Zero(t, core.failed)
	require.Empty(t, core.misses)
}

// requireHanding counts anew the records of which everything open is being handed over.
func requireHanding(t require.TestingT, core *keeperCore) {
	want := 0
	open, handing := map[uint64]int{}, map[uint64]int{}
	for _, held := range core.halves {
		for _, tag := range held.tags {
			open[tag]++
			if held.state == halfHanding {
				handing[tag]++
			}
		}
	}
	for tag, n := range open {
		if s := core.shares[tag]; s != nil {
			require.Equal(t, n, s.open, "halves of a record of many that are open")
		}
		if handing[tag] == n {
			want++
		}
	}
	require.Equal(t, want, core.handing)
}

func TestKeeperCoreRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		script := make([]byte, 2*r.IntN(150))
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		runKeeper(t, script)
		if t.Failed() {
			t.Logf("script: %q", script)
			return
		}
	}
}

func FuzzKeeperCore(f *testing.F) {
	f.Add([]byte("\x00\x01\x03\x01\x05\x10"))
	f.Add([]byte("\x03\x01\x00\x01\x00\x01\x08\x00\x06\x00"))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 600 {
			return
		}
		runKeeper(t, script)
	})
}
