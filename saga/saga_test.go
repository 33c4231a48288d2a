package saga_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Order is the state of the sagas here.
type Order struct {
	Number  string `json:"number"`
	Items   []Item `json:"items,omitempty"`
	Express bool   `json:"express,omitempty"`
	Charge  string `json:"charge,omitempty"`
}

type Item struct {
	SKU   string `json:"sku"`
	Count int    `json:"count"`
}

func nothing(context.Context, *gorm.DB, *Order) error { return nil }

func local(name string) saga.StepDef { return saga.Local(name, nothing, nothing) }

func define(steps ...saga.Step[Order]) saga.Saga[Order] {
	return saga.Saga[Order]{Name: "order-payment", Steps: steps}
}

func TestInvalidDefinitions(t *testing.T) {
	express := saga.If(func(o Order) bool { return o.Express })
	speed := saga.Pick(func(o Order) string { return "fast" })
	var none *int
	for name, c := range map[string]struct {
		def  saga.Definition
		want []string // one for each error
	}{
		"no name":              {saga.Saga[Order]{Steps: []saga.Step[Order]{local("a")}}, []string{`saga : the saga's name is empty`}},
		"bad name":             {saga.Saga[Order]{Name: "a/b", Steps: []saga.Step[Order]{local("a")}}, []string{`saga a/b: the saga's name "a/b" contains '/'`}},
		"no steps":             {define(), []string{"saga order-payment: it has no steps"}},
		"version":              {saga.Saga[Order]{Name: "x", Version: -1, Steps: []saga.Step[Order]{local("a")}}, []string{"saga x: its version is -1"}},
		"too many steps":       {define(many(core.MaxSteps + 1)...), []string{"saga order-payment: it has 257 steps and groups, the limit is 256"}},
		"nil step":             {define(local("a"), nil), []string{"step number 2: it is nil"}},
		"no step's name":       {define(local("")), []string{"step number 1: its name is empty"}},
		"zero step":            {define(saga.StepDef{}), []string{"step number 1: its name is empty", `step number 1: its kind is ""`, "step number 1: it has no Undo"}},
		"bad step's name":      {define(local("a b")), []string{`step a b: the step's name "a b" contains ' '`}},
		"duplicate names":      {define(local("a"), saga.Parallel("p", local("b"), local("a"))), []string{"step a: two steps have this name"}},
		"nil function":         {define(saga.Local[Order]("a", nil, nothing)), []string{"step a: it has no function: give Local one"}},
		"nil condition":        {define(local("a").When(saga.If[Order](nil))), []string{"step a: its condition is nil"}},
		"nil send":             {define(saga.Message("m", "a", "b").Send(saga.From[Order, int](nil))), []string{"step m: Send needs a function"}},
		"nil receive":          {define(saga.Message("m", "a", "b").Receive(saga.Into[Order, int](nil))), []string{"step m: Receive needs a function"}},
		"nil pick":             {define(saga.Choose("c", saga.Picker{}, saga.Case("x", local("a")))), []string{"step c: it has no function"}},
		"other state":          {define(saga.Local("a", func(context.Context, *gorm.DB, *Item) error { return nil }, nil).NoUndo()), []string{"step a: its functions take a saga_test.Item, but the saga's state is saga_test.Order"}},
		"pointer as state":     {define(local("a").When(saga.If(func(*Order) bool { return true }))), []string{"step a: When takes a *saga_test.Order, but"}},
		"other state in send":  {define(saga.Message("m", "a", "b").Send(saga.From(func(Item) int { return 1 }))), []string{"step m: Send takes a saga_test.Item"}},
		"other in receive":     {define(saga.Message("m", "a", "b").Receive(saga.Into(func(*Item, int) error { return nil }))), []string{"step m: Receive takes a saga_test.Item"}},
		"other state in pick":  {define(saga.Choose("c", saga.Pick(func(Item) string { return "" }), saga.Case("x", local("a")))), []string{"step c: Pick takes a saga_test.Item"}},
		"no Undo":              {define(saga.Local("a", nothing, nil)), []string{"step a: it has no Undo, and a later failure, or its own, would have to undo it: give it one, or say NoUndo, or put it after the pivot"}},
		"no Undo of message":   {define(saga.Message("m", "stock.reserve", "")), []string{"step m: it has no Undo"}},
		"no Undo of activity":  {define(saga.Activity("m", "Charge", "")), []string{"step m: it has no Undo"}},
		"no Undo, parks":       {define(saga.Local("a", nothing, nil).Park(), local("b")), []string{"step a: it has no Undo"}},
		"no Undo of the pivot": {define(saga.Local("a", nothing, nil).AsPivot()), []string{"step a: it has no Undo"}},
		"Undo and NoUndo":      {define(local("a").NoUndo()), []string{"step a: it has an Undo and says NoUndo"}},
		"Backward after pivot": {define(local("a").AsPivot(), local("b").Backward()), []string{"step b: it goes backward on failure, but comes after the pivot a"}},
		"Forward before Backward": {define(local("a").Forward(), local("b")),
			[]string{"step b: it goes backward on failure, but comes after the Forward step a, which cannot: put it before, or make it Forward or Park"}},
		"Forward beside Backward": {define(saga.Parallel("p", local("a").Forward(), local("b"))), []string{"step b: it goes backward on failure, but runs beside the Forward step a"}},
		"Forward in a case":       {define(saga.Choose("c", speed, saga.Case("fast", local("a").Forward()), saga.Otherwise(local("b"))), local("d")), []string{"step d: it goes backward on failure, but comes after the Forward step a"}},
		"Forward before pivot":    {define(local("a").Forward(), local("b").AsPivot().Park()), []string{"step b: a Forward step, a, comes before the pivot"}},
		"Forward pivot":           {define(local("a").Forward().AsPivot()), []string{"step a: it is the pivot and Forward"}},
		"second pivot":            {define(local("a").AsPivot(), local("b").AsPivot()), []string{"step b: it is a second pivot after a"}},
		"pivot in a group":        {define(saga.Parallel("p", local("a").AsPivot(), local("b"))), []string{"step a: a pivot cannot be inside a parallel group or a choice"}},
		"pivot in a case":         {define(saga.Choose("c", speed, saga.Case("x", local("a").AsPivot()))), []string{"step a: a pivot cannot be inside"}},
		"group as pivot":          {define(saga.Sequence("s", local("a")).AsPivot()), []string{"step s: a sequence cannot be the pivot"}},
		"empty group":             {define(saga.Parallel("p")), []string{"step p: the parallel is empty"}},
		"group's failure":         {define(saga.Parallel("p", local("a")).Park()), []string{"step p: a parallel has no failure, timeout, retry or Undo of its own"}},
		"group's timeout":         {define(saga.Sequence("p", local("a")).Timeout(time.Second)), []string{"step p: a sequence has no failure, timeout"}},
		"group's retry":           {define(saga.Sequence("p", local("a")).Retry(saga.Retry{Attempts: 1})), []string{"step p: a sequence has no failure, timeout, retry"}},
		"group's NoUndo":          {define(saga.Sequence("p", local("a")).NoUndo()), []string{"step p: a sequence has no failure"}},
		"group's condition":       {define(saga.Parallel("p", local("a")).When(express)), []string{"step p: When, Send and Receive are for steps, not for a parallel"}},
		"choice that is Forward":  {define(saga.Choose("c", speed, saga.Case("x", local("a"))).Forward()), []string{"step c: a choice that cannot be made would end the same"}},
		"case twice":              {define(saga.Choose("c", speed, saga.Case("x", local("a")), saga.Case("x", local("b")))), []string{`step b: it is unreachable: case "x" of choice c is taken by a`, "step c.case.x: two steps have this name"}},
		"otherwise twice":         {define(saga.Choose("c", speed, saga.Otherwise(local("a")), saga.Otherwise(local("b")))), []string{`step b: it is unreachable: case "" of choice c is taken by a`, "two steps have this name"}},
		"case without a label":    {define(saga.Choose("c", speed, saga.Case("", local("a")))), []string{"step c.case.: a Case needs a label: use Otherwise"}},
		"step as a case":          {define(saga.Choose("c", speed, local("a"))), []string{"step a: a choice holds cases: use Case or Otherwise"}},
		"case outside":            {define(saga.Sequence("s", saga.Case("x", local("a")))), []string{"step case.x: Case and Otherwise are for Choose alone"}},
		"case at the top":         {define(saga.Otherwise(local("a"))), []string{"step otherwise: Case and Otherwise are for Choose alone"}},
		"Send on local":           {define(local("a").Send(saga.From(func(o Order) string { return o.Number }))), []string{"step a: a local step has the state itself"}},
		"Receive on local":        {define(local("a").Receive(saga.Into(func(*Order, int) error { return nil }))), []string{"step a: a local step has the state itself"}},
		"Send on wait":            {define(saga.Wait("w", 0).Send(saga.From(func(o Order) string { return o.Number }))), []string{"step w: a wait sends nothing"}},
		"On a message":            {define(saga.Message("m", "a", "b").On("queue")), []string{"step m: On is for activities"}},
		"Forward wait":            {define(saga.Wait("w", 0).Forward()), []string{"step w: a wait cannot be Forward"}},
		"retried wait":            {define(saga.Wait("w", 0).Retry(saga.Retry{Attempts: 3})), []string{"step w: a wait is not tried again"}},
		"no topic":                {define(saga.Message("m", "", "b")), []string{"step m: its topic is empty"}},
		"bad topic":               {define(saga.Message("m", "a b", "b")), []string{`step m: its topic: the topic "a b" contains ' '`}},
		"bad Undo's topic":        {define(saga.Message("m", "a", "b*")), []string{`step m: its Undo's topic: the topic "b*" contains '*'`}},
		"one topic for both":      {define(saga.Message("m", "a", "a")), []string{"step m: Do and Undo have the same topic a"}},
		"no activity":             {define(saga.Activity("a", "", "Undo")), []string{"step a: the activity's type is empty"}},
		"negative timeout":        {define(local("a").Timeout(-1)), []string{"step a: a timeout or retry is negative"}},
		"patience":                {define(local("a").Patience(time.Hour)), []string{"step a: Patience is for a message step"}},
		"negative retry":          {define(local("a").Retry(saga.Retry{First: -1})), []string{"step a: a timeout or retry is negative"}},
		"no saga":                 {define(saga.Sub("s", nil)), []string{"step s: it has no saga"}},
		"invalid saga":            {define(saga.Sub("s", saga.Saga[Item]{Name: "inner"})), []string{"step s: holdfast: invalid: saga inner: it has no steps"}},
		"a sub-saga's pivot": {define(saga.Sub("s", saga.Saga[Order]{Name: "inner", Steps: []saga.Step[Order]{local("x").AsPivot(), saga.Message("y", "y.do", "")}}), local("b")),
			[]string{"step s: step y of saga inner has no Undo, and a later failure would have to undo it"}},
		"itself": {define(saga.Sub("s", define(local("a")))), []string{"step s: saga order-payment contains itself: what comes after it is unreachable"}},
		"itself, further down": {define(saga.Sub("s", saga.Saga[*int]{Name: "inner", Steps: []saga.Step[*int]{saga.Sub("t", define(local("a"))).Send(saga.From(func(*int) *int { return none }))}})),
			[]string{"step t: saga order-payment contains itself"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.def.Compile()
			require.ErrorIs(t, err, holdfast.ErrInvalid)
			got := strings.Split(err.Error(), "\n")
			require.Len(t, got, len(c.want), err)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
			for _, line := range got {
				require.True(t, strings.HasPrefix(line, "holdfast: invalid: saga "), line)
			}
		})
	}
}

func many(n int) []saga.Step[Order] {
	out := make([]saga.Step[Order], n)
	for i := range out {
		out[i] = local(fmt.Sprint("s", i))
	}
	return out
}

// What looks odd but is right.
func TestValidDefinitions(t *testing.T) {
	for name, def := range map[string]saga.Saga[Order]{
		"Park after Forward needs no Undo":            define(local("a").Forward(), saga.Local("b", nothing, nil).Park()),
		"Backward before Forward in the same branch":  define(saga.Parallel("p", saga.Sequence("s", local("a"), local("b").Forward()), local("c").Park())),
		"Forward in one case, Backward in another":    define(saga.Choose("c", saga.Pick(func(Order) string { return "" }), saga.Case("x", local("a").Forward()), saga.Otherwise(local("b")))),
		"pivot in a sequence":                         define(saga.Sequence("s", local("a"), local("b").AsPivot(), saga.Local("c", nothing, nil))),
		"pivot that needs no Undo":                    define(saga.Wait("approval", 0).AsPivot(), saga.Local("c", nothing, nil)),
		"wait after the pivot":                        define(local("a").AsPivot(), saga.Wait("w", 0)),
		"choice beside a Forward step":                define(saga.Parallel("p", local("a").Forward(), saga.Choose("c", saga.Pick(func(Order) string { return "" }), saga.Case("x", local("b").Park())))),
		"sub-saga that is not undone":                 define(saga.Sub("s", saga.Saga[Order]{Name: "inner", Steps: []saga.Step[Order]{local("a")}}).NoUndo()),
		"the same sub-saga twice, and the same names": define(saga.Sub("s", saga.Saga[Order]{Name: "inner", Steps: []saga.Step[Order]{local("s")}}), saga.Sub("t", saga.Saga[Order]{Name: "inner", Steps: []saga.Step[Order]{local("s")}})),
		"as many steps as there can be":               define(many(core.MaxSteps)...),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := def.Compile()
			require.NoError(t, err)
			again, err := c.Plan.Complete()
			require.NoError(t, err)
			require.Equal(t, c.Plan, again, "what is complete stays as it is")
			text, err := json.Marshal(c.Plan)
			require.NoError(t, err)
			var back core.Plan
			require.NoError(t, json.Unmarshal(text, &back))
			require.Equal(t, c.Plan, back, "a plan survives JSON")
		})
	}
	c, err := define(local("a").AsPivot(), saga.Wait("w", 0), local("b")).Compile()
	require.NoError(t, err)
	require.Equal(t, core.Park, c.Plan.Find("w").OnFailure)
	require.Equal(t, core.Forward, c.Plan.Find("b").OnFailure)
	require.Equal(t, core.Backward, c.Plan.Find("a").OnFailure)
	require.Equal(t, 1, c.Plan.Version)
}

var story = func() saga.Saga[Order] {
	return saga.Saga[Order]{
		Name: "order-payment", Version: 2,
		Key: func(o Order) string { return o.Number },
		Steps: []saga.Step[Order]{
			saga.Local("create", func(_ context.Context, _ *gorm.DB, o *Order) error {
				o.Number += "-1"
				o.Items = o.Items[:1]
				return nil
			}, func(_ context.Context, _ *gorm.DB, o *Order) error {
				if o.Express {
					return errors.New("cannot")
				}
				return nil
			}),
			saga.Message("charge", "payment.charge", "payment.refund").
				When(saga.If(func(o Order) bool { return len(o.Items) > 0 })).
				Send(saga.From(func(o Order) Item { return o.Items[0] })).
				Receive(saga.Into(func(o *Order, id string) error {
					if id == "" {
						return saga.Refuse("no charge")
					}
					o.Charge = id
					return nil
				})),
			saga.Choose("speed", saga.Pick(func(o Order) string { return map[bool]string{true: "express", false: "usual"}[o.Express] }),
				saga.Case("express", saga.Message("fly", "air.book", "air.cancel")),
				saga.Otherwise(saga.Sub("drive", saga.Saga[Item]{Name: "drive", Steps: []saga.Step[Item]{
					saga.Wait("truck", time.Hour), saga.Sub("fuel", saga.Saga[Item]{Name: "fuel", Steps: []saga.Step[Item]{saga.Activity("pump", "Pump", "").NoUndo()}}),
				}}).Send(saga.From(func(o Order) Item { return o.Items[0] })))),
		},
	}
}()

func undone(_ json.RawMessage, err error) error { return err }

func TestCompiledFunctions(t *testing.T) {
	c, err := story.Compile()
	require.NoError(t, err)
	data := json.RawMessage(`{"number":"O-7","items":[{"sku":"a","count":2},{"sku":"b","count":1}],"later":{"kept":true}}`)
	key, err := c.Key(data)
	require.NoError(t, err)
	require.Equal(t, "O-7", key)

	patch, err := c.Do(t.Context(), nil, "create", data)
	require.NoError(t, err)
	require.JSONEq(t, `{"number":"O-7-1","items":[{"sku":"a","count":2}]}`, string(patch))
	after, err := core.Merge(data, patch)
	require.NoError(t, err)
	require.JSONEq(t, `{"number":"O-7-1","items":[{"sku":"a","count":2}],"later":{"kept":true}}`, string(after), "what this version does not know stays")
	require.NoError(t, undone(c.Undo(t.Context(), nil, "create", data)))
	require.EqualError(t, undone(c.Undo(t.Context(), nil, "create", json.RawMessage(`{"express":true}`))), "cannot")

	do, err := c.When("charge", data)
	require.NoError(t, err)
	require.True(t, do)
	do, err = c.When("charge", json.RawMessage(`{}`))
	require.NoError(t, err)
	require.False(t, do)
	do, err = c.When("create", data)
	require.NoError(t, err)
	require.True(t, do)

	body, err := c.Send("charge", data)
	require.NoError(t, err)
	require.JSONEq(t, `{"sku":"a","count":2}`, string(body))
	body, err = c.Send("fly", data)
	require.NoError(t, err)
	require.Equal(t, string(data), string(body), "without Send it is the state")

	patch, err = c.Receive("charge", data, json.RawMessage(`"C-1"`))
	require.NoError(t, err)
	require.JSONEq(t, `{"charge":"C-1"}`, string(patch))
	_, err = c.Receive("charge", data, nil)
	reason, refused := holdfast.IsRefused(err)
	require.True(t, refused)
	require.Equal(t, "no charge", reason)
	patch, err = c.Receive("fly", data, json.RawMessage(`"dropped"`))
	require.NoError(t, err)
	require.Empty(t, patch)

	pick, err := c.Pick("speed", json.RawMessage(`{"express":true}`))
	require.NoError(t, err)
	require.Equal(t, "express", pick)

	var subs []string
	for _, s := range c.Subs() {
		subs = append(subs, s.Plan.Name)
	}
	require.Equal(t, []string{"drive", "fuel"}, subs)
	keyless, err := define(local("a")).Compile()
	require.NoError(t, err)
	key, err = keyless.Key(json.RawMessage("broken"))
	require.NoError(t, err)
	require.Empty(t, key)
}

// What no repetition would cure is permanent, and says what to do.
func TestCompiledFails(t *testing.T) {
	large := saga.Saga[Order]{Name: "large", Steps: []saga.Step[Order]{
		saga.Local("grow", func(_ context.Context, _ *gorm.DB, o *Order) error {
			o.Number = strings.Repeat("x", core.MaxData)
			return nil
		}, nil).NoUndo(),
		saga.Sub("sub", define(local("a"))).Send(saga.From(func(Order) string { return strings.Repeat("x", core.MaxData) })),
		saga.Message("m", "a", "b").Send(saga.From(func(Order) any { return func() {} })).When(saga.If(func(Order) bool { panic("boom") })),
	}}
	c, err := large.Compile()
	require.NoError(t, err)
	_, err = c.Do(t.Context(), nil, "grow", json.RawMessage(`{}`))
	require.ErrorIs(t, err, holdfast.ErrTooLarge)
	require.True(t, holdfast.IsPermanent(err))
	_, err = c.Send("sub", json.RawMessage(`{}`))
	require.ErrorIs(t, err, holdfast.ErrTooLarge)
	require.True(t, holdfast.IsPermanent(err))
	_, err = c.Send("m", json.RawMessage(`{}`))
	require.ErrorContains(t, err, "no JSON")
	require.True(t, holdfast.IsPermanent(err))
	_, err = c.When("m", json.RawMessage(`{}`))
	var p *holdfast.PanicError
	require.ErrorAs(t, err, &p)
	for _, data := range []string{"", "{", `{"number":1}`} {
		_, err = c.Do(t.Context(), nil, "grow", json.RawMessage(data))
		require.ErrorContains(t, err, "does this version still read what earlier ones wrote?")
		require.True(t, holdfast.IsPermanent(err))
	}
	for what, f := range map[string]func(step string) error{
		"Do":   func(s string) error { _, err := c.Do(t.Context(), nil, s, nil); return err },
		"Undo": func(s string) error { return undone(c.Undo(t.Context(), nil, s, nil)) },
		"Pick": func(s string) error { _, err := c.Pick(s, nil); return err },
	} {
		err := f("elsewhere")
		require.ErrorIs(t, err, holdfast.ErrNotFound)
		require.ErrorContains(t, err, "saga large version 1 has no "+what+" in step elsewhere")
		require.True(t, holdfast.IsPermanent(err))
	}
	s, err := story.Compile()
	require.NoError(t, err)
	_, err = s.Receive("charge", json.RawMessage(`{}`), json.RawMessage(`{"id":1}`))
	require.ErrorContains(t, err, "the result is not what Receive takes")
	require.True(t, holdfast.IsPermanent(err))
	_, err = s.Send("charge", json.RawMessage(`{}`)) // o.Items[0] of none
	require.ErrorAs(t, err, &p)
}

func TestMermaid(t *testing.T) {
	text, err := story.Mermaid()
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile("testdata/story.mmd", []byte(text), 0o644))
	}
	want, err := os.ReadFile("testdata/story.mmd")
	require.NoError(t, err)
	require.Equal(t, string(want), text)
	_, err = define().Mermaid()
	require.ErrorContains(t, err, "it has no steps")
}
