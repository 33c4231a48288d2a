package batch

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// acted is what a run did, by a clock that tests turn.
type acted struct {
	mu      sync.Mutex
	ids     []string
	at      []time.Time
	now     int // under way
	most    int
	takes   time.Duration
	outcome func(id string) Outcome
	done    []View
}

func (a *acted) do(_ context.Context, id string) Outcome {
	a.mu.Lock()
	a.ids, a.at = append(a.ids, id), append(a.at, time.Now())
	a.now++
	a.most = max(a.most, a.now)
	a.mu.Unlock()
	time.Sleep(a.takes)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now--
	if a.outcome != nil {
		return a.outcome(id)
	}
	return Outcome{Outcome: "handled", Sent: true}
}

func (a *acted) order(n int) Order {
	o := Order{ID: "r", Who: "ann", Do: a.do, Done: func(v View) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.done = append(a.done, v)
	}}
	for i := range n {
		o.IDs = append(o.IDs, fmt.Sprint(i))
	}
	return o
}

// began begins a run on n, and waits until nothing more comes by itself.
func began(t *testing.T, a *acted, n int) *Book {
	t.Helper()
	b := NewBook(time.Now)
	require.NoError(t, b.Begin(a.order(n)))
	synctest.Wait()
	return b
}

func sees(t *testing.T, b *Book) View {
	t.Helper()
	v, ok := b.See("r")
	require.True(t, ok)
	return v
}

func TestTheFirstAloneAndThenTheRestAtARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &acted{}
		b := began(t, a, 21)
		require.Equal(t, Asks, sees(t, b).State)
		require.Equal(t, []string{"0"}, a.ids)
		require.Equal(t, "handled", sees(t, b).Tried().Outcome)
		time.Sleep(Waits / 2)
		require.Len(t, a.ids, 1, "nobody said to go on")
		start := time.Now()
		require.NoError(t, b.GoOn("r", 5, "ann"))
		require.ErrorIs(t, b.GoOn("r", 5, "ann"), ErrState, "once")
		b.find("r").waits()
		require.Len(t, a.ids, 21)
		require.Equal(t, 4*time.Second, time.Since(start), "20 at 5 a second")
		v := sees(t, b)
		require.Equal(t, []any{Over, "", 21, 0}, []any{v.State, v.Why, len(v.Outcomes), v.Left()})
		require.Equal(t, map[string]int{"handled": 21}, v.Counts())
		require.Len(t, a.done, 1)
		require.Equal(t, Over, a.done[0].State)
		require.ErrorIs(t, b.Stop("r", "late"), ErrState)
	})
}

// waits until nothing of the run is under way.
func (r *run) waits() { <-r.over }

func TestNoMoreAtATimeThanMayBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &acted{takes: time.Minute}
		b := began(t, a, 30)
		time.Sleep(2 * time.Minute)
		require.NoError(t, b.GoOn("r", 100, "ann"))
		b.find("r").waits()
		require.Equal(t, underWay, a.most)
		require.Len(t, a.ids, 30)
	})
}

// TestWhatEndsARun: no further one is begun, and what was not begun is told so.
func TestWhatEndsARun(t *testing.T) {
	bad := func(string) Outcome { return Outcome{Outcome: "failed again", Sent: true, Bad: true} }
	for name, c := range map[string]struct {
		outcome func(id string) Outcome
		then    func(*Book)
		did     int
		why     string
	}{
		"the first one fails": {bad, func(*Book) {}, 1, "the first one did not succeed"},
		"nobody says":         {nil, func(*Book) { time.Sleep(Waits) }, 1, "nobody said within 30m0s to go on"},
		"an operator, before": {nil, func(b *Book) { _ = b.Stop("r", "eve ended it") }, 1, "eve ended it"},
		"an operator, amid": {nil, func(b *Book) {
			_ = b.GoOn("r", 1, "ann")
			time.Sleep(3*time.Second + time.Millisecond)
			_ = b.Stop("r", "eve ended it")
		}, 4, "eve ended it"},
		"five in a row": {func(id string) Outcome {
			if id < "3" {
				return Outcome{Outcome: "handled", Sent: true}
			}
			return bad(id)
		}, func(b *Book) { _ = b.GoOn("r", 1, "ann") }, 8, "5 in a row did not succeed"},
		"the console": {nil, func(b *Book) { b.End() }, 1, "the console is about to end"},
		"a panic":     {func(string) Outcome { panic("oops") }, func(*Book) {}, 1, "the first one did not succeed"},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &acted{outcome: c.outcome}
			b := began(t, a, 10)
			c.then(b)
			b.find("r").waits()
			v := sees(t, b)
			require.Equal(t, Ended, v.State, name)
			require.Equal(t, c.why, v.Why, name)
			require.Len(t, a.ids, c.did, name)
			require.Len(t, v.Outcomes, 10, name)
			require.Equal(t, 10-c.did, v.Counts()[Unsent], name)
			require.Equal(t, c.why, v.Outcomes[9].Detail, name)
			require.ErrorIs(t, b.GoOn("r", 1, "ann"), ErrState, name)
			require.Len(t, a.ids, c.did, name)
			require.Len(t, a.done, 1, name)
			if name == "a panic" {
				require.Equal(t, Unknown, v.Outcomes[0].Outcome)
			}
		})
	}
}

// TestWhatIsLeftOutIsNoFirstOne: what has changed since says nothing of whether it would
// succeed.
func TestWhatIsLeftOutIsNoFirstOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &acted{outcome: func(id string) Outcome {
			if id < "2" {
				return Outcome{Outcome: Left}
			}
			return Outcome{Outcome: "handled", Sent: true}
		}}
		b := began(t, a, 4)
		require.Equal(t, []string{"0", "1", "2"}, a.ids)
		require.Equal(t, "2", sees(t, b).Tried().ID)
		b.End()
		require.ErrorIs(t, b.Begin(a.order(1)), errEnded)

		a.outcome = func(string) Outcome { return Outcome{Outcome: Left} }
		b = began(t, a, 3)
		require.Equal(t, Over, sees(t, b).State)
		require.Nil(t, sees(t, b).Tried())
	})
}

func TestRunsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBook(time.Now)
		a := &acted{}
		for i := range maxRuns + 5 {
			o := a.order(1)
			o.ID = fmt.Sprint(i)
			require.NoError(t, b.Begin(o))
			synctest.Wait()
		}
		require.Len(t, b.All(), maxRuns)
		require.Equal(t, fmt.Sprint(maxRuns+4), b.All()[0].ID)
		_, ok := b.See("0")
		require.False(t, ok)
		require.ErrorIs(t, b.GoOn("0", 1, "ann"), ErrState)
		require.ErrorIs(t, b.Stop("0", ""), ErrState)
		for range maxBusy {
			require.NoError(t, b.Begin(a.order(2)))
		}
		synctest.Wait()
		require.ErrorIs(t, b.Begin(a.order(2)), errBusy)
		b.End()
	})
}

// TestWhatOnlyWaits takes no place of a run, and is bounded for itself.
func TestWhatOnlyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, a := NewBook(time.Now), &acted{}
		defer b.End()
		single := func(id, who string) Order {
			o := a.order(1)
			o.ID, o.Who, o.AskFirst = id, who, true
			return o
		}
		for i := range maxWaiting {
			require.NoError(t, b.Begin(single(fmt.Sprint(i), fmt.Sprint(i/waitingOfOne))))
		}
		require.ErrorIs(t, b.Begin(single("x", "0")), errYours)
		require.ErrorIs(t, b.Begin(single("x", "x")), errWaiting)
		for i := range maxRuns {
			o := a.order(1)
			o.ID = "over " + fmt.Sprint(i)
			require.NoError(t, b.Begin(o), "a run has its place")
			synctest.Wait()
		}
		for range maxBusy {
			require.NoError(t, b.Begin(a.order(2)))
		}
		synctest.Wait()
		require.ErrorIs(t, b.Begin(a.order(2)), errBusy)
		require.Len(t, b.All(), maxWaiting+maxRuns)
		require.NoError(t, b.Stop("0", "no"))
		require.NoError(t, b.Begin(single("x", "0")), "also where runs are busy")
		synctest.Wait()
		require.NoError(t, b.GoOn("x", 1, "eve"))
		synctest.Wait()
		require.NoError(t, b.Begin(single("y", "0")))
	})
}

// TestARunThatAsksFirst does nothing before somebody says so, then the first one, and asks again; a
// first one that fails ends it.
func TestARunThatAsksFirst(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fails bool
		says  func(*Book) error
		want  int
		state State
	}{
		"goes on": {false, func(b *Book) error {
			if err := b.GoOn("r", 1, "eve"); err != nil {
				return err
			}
			synctest.Wait()
			v, _ := b.See("r")
			require.Equal(t, []any{Asks, 1, 0}, []any{v.State, len(v.Outcomes), v.Rate}, "it asks again")
			return b.GoOn("r", 100, "eve")
		}, 5, Over},
		"fails":    {true, func(b *Book) error { return b.GoOn("r", 100, "eve") }, 1, Ended},
		"stopped":  {false, func(b *Book) error { return b.Stop("r", "no") }, 0, Ended},
		"too late": {false, func(*Book) error { time.Sleep(Waits); return nil }, 0, Ended},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := &acted{outcome: func(string) Outcome { return Outcome{Outcome: "handled", Sent: true, Bad: c.fails} }}
				o, b := a.order(5), NewBook(time.Now)
				o.AskFirst = true
				require.NoError(t, b.Begin(o))
				synctest.Wait()
				v, _ := b.See("r")
				require.True(t, v.Waits())
				require.Empty(t, a.ids)
				require.NoError(t, c.says(b))
				time.Sleep(time.Minute)
				synctest.Wait()
				v, _ = b.See("r")
				require.Equal(t, c.state, v.State)
				require.Len(t, a.ids, c.want)
				require.Len(t, v.Outcomes, 5)
			})
		})
	}
}
