package seal

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

var (
	inputType   = reflect.TypeFor[core.ActivityInput]()
	contextType = reflect.TypeFor[context.Context]()
	rawType     = reflect.TypeFor[json.RawMessage]()
	errorType   = reflect.TypeFor[error]()
)

// Takes reports whether f, a function of a saga's activity, takes a [core.ActivityInput] and,
// before that, nothing but perhaps a context: so that what it is given can be opened.
func Takes(f any) bool {
	_, _, ok := shape(reflect.TypeOf(f))
	return ok
}

func shape(t reflect.Type) (ctx, input int, ok bool) {
	ctx = -1
	if t == nil || t.Kind() != reflect.Func || t.IsVariadic() || t.NumOut() < 1 || t.NumOut() > 2 ||
		t.Out(t.NumOut()-1) != errorType {
		return 0, 0, false
	}
	if t.NumIn() > 0 && t.In(0) == contextType {
		ctx, input = 0, 1
	}
	return ctx, input, t.NumIn() == input+1 && t.In(input) == inputType
}

// Activity is f, a function of a saga's activity, with its input opened and its result
// sealed. A function that [Takes] something else is returned as it is. f is not called where
// its input cannot be opened, or its result could not be sealed; that a key is missing is an
// application error of the type [core.KeyMissingType].
func (b *Box) Activity(f any) any {
	t := reflect.TypeOf(f)
	ctxAt, inputAt, ok := shape(t)
	if !ok {
		return f
	}
	in, out := []reflect.Type{contextType, inputType}, []reflect.Type{errorType}
	result := t.NumOut() == 2
	if result {
		kind := t.Out(0)
		if b.Seals() {
			kind = rawType
		}
		out = []reflect.Type{kind, errorType}
	}
	answer := func(value any, err error) []reflect.Value {
		failure := reflect.Zero(errorType)
		if err != nil {
			failure = reflect.ValueOf(&err).Elem()
		}
		if !result {
			return []reflect.Value{failure}
		}
		got := reflect.Zero(out[0])
		if v, is := value.(reflect.Value); is {
			got = v
		}
		return []reflect.Value{got, failure}
	}
	return reflect.MakeFunc(reflect.FuncOf(in, out, false), func(args []reflect.Value) []reflect.Value {
		ctx, given := args[0].Interface().(context.Context), args[1].Interface().(core.ActivityInput)
		data, err := b.OpenValue(ctx, Input, given.Saga, given.Step, given.Data)
		if err == nil && result { // before anything is done
			_, err = b.Value(ctx, Result, given.Saga, given.Step, json.RawMessage("null"))
		}
		if err != nil {
			return answer(nil, keyMissing(err))
		}
		given.Data = data
		call := make([]reflect.Value, t.NumIn())
		if ctxAt >= 0 {
			call[ctxAt] = args[0]
		}
		call[inputAt] = reflect.ValueOf(given)
		got := reflect.ValueOf(f).Call(call)
		err, _ = got[len(got)-1].Interface().(error)
		if err != nil || !result {
			return answer(nil, err)
		}
		if !b.Seals() {
			return answer(got[0], nil)
		}
		plain, err := json.Marshal(got[0].Interface())
		if err != nil {
			return answer(nil, holdfast.Permanent(fmt.Errorf("its result is no JSON: %w", err)))
		}
		sealed, err := b.Value(ctx, Result, given.Saga, given.Step, plain)
		return answer(reflect.ValueOf(sealed), keyMissing(err))
	}).Interface()
}

// keyMissing is err for a saga, which does not count it as a try where a key is missing.
func keyMissing(err error) error {
	if !Missing(err) {
		return err
	}
	return temporal.NewApplicationError(err.Error(), core.KeyMissingType)
}
