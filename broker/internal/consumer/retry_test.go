package consumer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

func TestDelayNames(t *testing.T) {
	for d, want := range map[time.Duration]string{
		10 * time.Second: "10s", 5 * time.Minute: "5m", time.Hour: "1h", 90 * time.Minute: "1h30m",
		500 * time.Millisecond: "500ms",
		20 * time.Minute:       "20m", 10 * time.Hour: "10h", 24 * time.Hour: "24h", 90 * time.Second: "1m30s",
		time.Hour + time.Second: "1h0m1s",
		1500 * time.Millisecond: "1.5s", time.Millisecond: "1ms", 100 * time.Second: "1m40s",
	} {
		require.Equal(t, want, wire.DelayName(d))
		back, err := time.ParseDuration(wire.DelayName(d))
		require.NoError(t, err)
		require.Equal(t, d, back)
	}
}

func TestLadderIsChecked(t *testing.T) {
	require.NoError(t, ValidLadder(DefaultLadder()))
	require.NoError(t, ValidLadder([]time.Duration{time.Millisecond, 24 * time.Hour}))
	for _, d := range []time.Duration{0, -time.Second, time.Microsecond, 1500 * time.Microsecond,
		24*time.Hour + time.Millisecond} {
		require.ErrorIs(t, ValidLadder([]time.Duration{d}), holdfast.ErrInvalid, d)
	}
	require.ErrorIs(t, ValidLadder(make([]time.Duration, maxRungs+1)), holdfast.ErrInvalid)
}

func TestSchedule(t *testing.T) {
	const s, m, h = time.Second, time.Minute, time.Hour
	two := NewSchedule(3, []time.Duration{2 * s, 20 * s}) // 5 attempts
	none := NewSchedule(2, []time.Duration{})
	once := NewSchedule(1, []time.Duration{2 * h})
	failed := ending{class: holdfast.ClassError}
	in := func(d time.Duration) ending { return ending{class: holdfast.ClassError, wish: d, wished: true} }
	dead := Verdict{Do: doBury}
	wait := func(d time.Duration) Verdict { return Verdict{Do: doDelay, delay: d} }
	now := Verdict{Do: doAgain}
	for name, c := range map[string]struct {
		s          schedule
		failed     int
		redelivery int
		e          ending
		want       Verdict
	}{
		"first":                        {two, 1, 0, failed, now},
		"second":                       {two, 2, 0, failed, now},
		"the immediate tries are over": {two, 3, 0, failed, wait(2 * s)},
		"second rung":                  {two, 4, 0, failed, wait(20 * s)},
		"last":                         {two, 5, 0, failed, dead},
		"more than the last":           {two, 50, 0, failed, dead},
		"panic":                        {two, 5, 0, ending{class: holdfast.ClassPanic}, dead},
		"timeout":                      {two, 5, 0, ending{class: holdfast.ClassTimeout}, dead},
		"a timeout is retried":         {two, 1, 0, ending{class: holdfast.ClassTimeout}, now},
		"permanent":                    {two, 1, 0, ending{class: holdfast.ClassPermanent}, dead},
		"permanent, whatever is wished": {two, 1, 0, ending{class: holdfast.ClassPermanent, wish: s, wished: true},
			dead},
		"no ladder":                        {none, 1, 0, failed, now},
		"no ladder, last":                  {none, 2, 0, failed, dead},
		"one try, then a rung":             {once, 1, 0, failed, wait(2 * h)},
		"redelivered, first":               {two, 1, 1, failed, now},
		"redelivered: no ladder":           {two, 3, 1, failed, dead},
		"wish: a delay of its own":         {two, 1, 0, in(2 * s), wait(2 * s)},
		"wish: rounded up":                 {two, 1, 0, in(3 * s), wait(10 * s)},
		"wish: 0":                          {two, 1, 0, in(0), wait(2 * s)},
		"wish: negative":                   {two, 1, 0, in(-h), wait(2 * s)},
		"wish: the longest":                {two, 1, 0, in(h), wait(h)},
		"wish: a little more":              {two, 1, 0, in(h + 1), Verdict{Do: doDelay, delay: h, hops: 1}},
		"wish: twice the longest":          {two, 1, 0, in(2 * h), Verdict{Do: doDelay, delay: h, hops: 1}},
		"wish: three and a half":           {two, 1, 0, in(3*h + 30*m), Verdict{Do: doDelay, delay: h, hops: 3}},
		"wish: the ladder has the longest": {NewSchedule(3, []time.Duration{2 * h}), 1, 0, in(2 * h), wait(2 * h)},
		"wish: at the last attempt":        {two, 5, 0, in(s), dead},
		"wish: no ladder":                  {none, 1, 0, in(s), wait(10 * s)},
		"wish: redelivered":                {two, 1, 1, in(s), wait(2 * s)},
	} {
		require.Equal(t, c.want, c.s.after(c.failed, c.redelivery, c.e), name)
	}

	for name, c := range map[string]struct {
		s                        schedule
		failed, lost, redelivery int
		want                     Verdict
	}{
		"once":                                 {two, 0, 1, 0, Verdict{Do: DoTail}},
		"twice":                                {two, 0, 2, 0, Verdict{Do: DoTail}},
		"as often as it is tried at once":      {two, 0, 3, 0, wait(2 * s)},
		"again":                                {two, 0, 4, 0, wait(20 * s)},
		"as often as it is allowed":            {two, 0, 5, 0, dead},
		"after failures":                       {two, 3, 1, 0, wait(20 * s)},
		"the last attempt, lost once":          {two, 4, 1, 0, wait(20 * s)},
		"the last attempt, lost twice":         {two, 4, 2, 0, wait(20 * s)},
		"the last attempt, lost for good":      {two, 4, 3, 0, dead},
		"no ladder, once":                      {none, 0, 1, 0, Verdict{Do: DoTail}},
		"no ladder, allowed two, at least 3":   {none, 0, 2, 0, Verdict{Do: DoTail}},
		"no ladder, three":                     {none, 0, 3, 0, dead},
		"redelivered, as often as it is tried": {two, 0, 3, 1, dead},
		"redelivered, after failures":          {two, 2, 2, 1, Verdict{Do: DoTail}},
	} {
		require.Equal(t, c.want, c.s.afterLoss(c.failed, c.lost, c.redelivery), name)
	}

	left, waits := two.wish(4*h).hops, 1
	for ; left > 0; left-- {
		require.Equal(t, Verdict{Do: doDelay, delay: h, hops: left - 1}, two.hop(left))
		waits++
	}
	require.Equal(t, 4, waits)
	require.Greater(t, minLost, suspectAt, "nothing dies of losses in company alone")
}
