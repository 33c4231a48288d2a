package confirm

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestAFormActsOnce(t *testing.T) {
	t.Parallel()
	b := NewBook(time.Now)
	id := b.Show("s", Order{Kind: "saga", Target: "1", Act: "retry"})
	_, _, ok := b.Result("s", id)
	require.False(t, ok, "it was not sent")
	var acted atomic.Int64
	began, finish := make(chan struct{}), make(chan struct{})
	act := func(o Order) Result {
		acted.Add(1)
		require.Equal(t, "retry", o.Act)
		close(began)
		<-finish
		return Result{Done: true, Outcome: "retried"}
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			_, r, err := b.Do(t.Context(), "s", id, act)
			require.NoError(t, err)
			require.Equal(t, "retried", r.Outcome)
		})
	}
	<-began
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := b.Do(gone, "s", id, act)
	require.ErrorIs(t, err, context.Canceled, "it is under way")
	close(finish)
	all.Wait()
	require.EqualValues(t, 1, acted.Load())
	_, r, ok := b.Result("s", id)
	require.True(t, ok)
	require.Equal(t, "retried", r.Outcome)
}

func TestAFormIsOneSessionsAndNotForEver(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	b := NewBook(func() time.Time { return now })
	id := b.Show("s", Order{})
	for _, session := range []string{"", "other"} {
		_, _, err := b.Do(t.Context(), session, id, nil)
		require.ErrorIs(t, err, ErrUnknown, session)
	}
	_, err := b.Find("s", id)
	require.NoError(t, err)
	now = now.Add(Lasts)
	_, err = b.Find("s", id)
	require.ErrorIs(t, err, ErrUnknown)
}

func TestFormsForOneTargetActOneAfterTheOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBook(time.Now)
		first, second := b.Show("s", Order{Kind: "saga", Target: "1"}), b.Show("s", Order{Kind: "saga", Target: "1"})
		other := b.Show("s", Order{Kind: "saga", Target: "2"})
		finish := make(chan struct{})
		var acted atomic.Int64
		do := func(id string, act func()) {
			go func() {
				_, _, err := b.Do(t.Context(), "s", id, func(Order) Result {
					act()
					acted.Add(1)
					return Result{}
				})
				require.NoError(t, err)
			}()
			synctest.Wait()
		}
		do(first, func() { <-finish })
		do(second, func() {})
		require.Zero(t, acted.Load(), "the second waits for the first")
		do(other, func() {})
		require.EqualValues(t, 1, acted.Load(), "another target does not")
		close(finish)
		synctest.Wait()
		require.EqualValues(t, 3, acted.Load())
		require.Empty(t, b.busy)
	})
}

// TestWhoWaitsForAnotherActionWaitsNoLongerThanAsked: and his form is good then.
func TestWhoWaitsForAnotherActionWaitsNoLongerThanAsked(t *testing.T) {
	t.Parallel()
	b := NewBook(time.Now)
	first, second := b.Show("s", Order{Kind: "saga", Target: "1"}), b.Show("s", Order{Kind: "saga", Target: "1"})
	done := func(Order) Result { return Result{Done: true, Outcome: "retried"} }
	began, finish := make(chan struct{}), make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		_, _, err := b.Do(t.Context(), "s", first, func(o Order) Result {
			close(began)
			<-finish
			return done(o)
		})
		require.NoError(t, err)
	})
	<-began
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	waited, result, err := b.Do(gone, "s", second, func(Order) Result {
		t.Error("it acted")
		return Result{}
	})
	require.NoError(t, err)
	require.Equal(t, []any{"1", errBusy.Error()}, []any{waited.Target, result.Detail})
	require.False(t, result.Done)
	close(finish)
	both.Wait()
	_, result, err = b.Do(t.Context(), "s", second, done)
	require.NoError(t, err)
	require.Equal(t, "retried", result.Outcome)
}

func TestAFormOfWhichNothingWasSentIsGood(t *testing.T) {
	t.Parallel()
	b := NewBook(time.Now)
	id := b.Show("s", Order{Target: "1"})
	for _, want := range []Result{{Again: true, Bad: true, Outcome: "not sent"}, {Done: true, Outcome: "retried"}} {
		_, r, err := b.Do(t.Context(), "s", id, func(Order) Result { return want })
		require.NoError(t, err)
		require.Equal(t, want, r)
		_, _, over := b.Result("s", id)
		require.Equal(t, want.Done, over)
	}
}

// TestTheEndWaitsForWhatIsUnderWay: and nothing more begins.
func TestTheEndWaitsForWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBook(time.Now)
		first, second := b.Show("s", Order{Target: "1"}), b.Show("s", Order{Target: "2"})
		finish := make(chan struct{})
		go func() {
			_, r, err := b.Do(t.Context(), "s", first, func(Order) Result {
				<-finish
				return Result{Done: true}
			})
			require.NoError(t, err)
			require.True(t, r.Done)
		}()
		synctest.Wait()
		ended := false
		go func() {
			b.End()
			ended = true
		}()
		synctest.Wait()
		require.False(t, ended)
		_, r, err := b.Do(t.Context(), "s", second, nil)
		require.NoError(t, err)
		require.Equal(t, Result{Bad: true, Again: true, Detail: errEnded.Error()}, r)
		close(finish)
		synctest.Wait()
		require.True(t, ended)
	})
}

func TestAnActionThatPanicsIsOver(t *testing.T) {
	t.Parallel()
	b := NewBook(time.Now)
	id := b.Show("s", Order{Target: "1"})
	require.Panics(t, func() { _, _, _ = b.Do(t.Context(), "s", id, func(Order) Result { panic("oops") }) })
	_, r, err := b.Do(t.Context(), "s", id, nil)
	require.NoError(t, err)
	require.Equal(t, []any{true, "unknown"}, []any{r.Bad, r.Outcome})
	require.Empty(t, b.busy)
}

func TestFormsAreBounded(t *testing.T) {
	t.Parallel()
	b := NewBook(time.Now)
	for range maxOfOne + 10 {
		b.Show("s", Order{})
	}
	require.Len(t, b.forms, maxOfOne)
}

// TestOneUsersFormsPushOutNobodyElses: in however many sessions.
func TestOneUsersFormsPushOutNobodyElses(t *testing.T) {
	t.Parallel()
	b := NewBook(time.Now)
	anns := b.Show("ann", Order{User: "ann"})
	for i := range 10 * maxOfUser {
		b.Show(fmt.Sprint("s", i%20), Order{User: "bob"})
	}
	require.Len(t, b.forms, maxOfUser+1)
	for i := 0; len(b.forms) < maxForms; i++ {
		b.forms[fmt.Sprint("many", i)] = &form{Order: Order{User: fmt.Sprint("user ", i/(maxOfUser-1))}, shown: time.Now()}
	}
	for i := range 10 {
		b.Show(fmt.Sprint("new", i), Order{User: fmt.Sprint("new", i)})
	}
	require.Len(t, b.forms, maxForms)
	_, err := b.Find("ann", anns)
	require.NoError(t, err, "who has most loses some")
}

func TestChanges(t *testing.T) {
	t.Parallel()
	was := Facts{{"state", "parked"}, {"step pay", "failed"}, {"step ship", "not begun"}}
	require.Empty(t, was.Changes(was))
	require.Equal(t, []Change{{"state", "parked", "running"}, {"step ship", "not begun", ""}, {"step mail", "", "done"}},
		was.Changes(Facts{{"state", "running"}, {"step pay", "failed"}, {"step mail", "done"}}))
}

// TestLongFactsAreKeptShort: and are told apart by their ends.
func TestLongFactsAreKeptShort(t *testing.T) {
	t.Parallel()
	b := NewBook(time.Now)
	long := strings.Repeat("ü", 1<<20)
	shown, err := b.Find("s", b.Show("s", Order{Shown: Facts{{"state", "parked"}, {"step pay", long}}}))
	require.NoError(t, err)
	require.LessOrEqual(t, len(shown.Shown[1].Value), factKept)
	require.True(t, utf8.ValidString(shown.Shown[1].Value))
	require.Empty(t, shown.Shown.Changes(Facts{{"state", "parked"}, {"step pay", long}}))
	changes := shown.Shown.Changes(Facts{{"state", "parked"}, {"step pay", long + "x"}})
	require.Len(t, changes, 1)
	require.LessOrEqual(t, len(changes[0].Is), factKept)
}
