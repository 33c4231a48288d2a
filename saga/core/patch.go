package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/holdfastmq/holdfast"
)

// Merge applies a JSON merge patch (RFC 7386) to doc; an empty patch changes
// nothing. The result's keys are sorted.
func Merge(doc, patch json.RawMessage) (json.RawMessage, error) {
	if len(patch) == 0 {
		return doc, nil
	}
	d, err := decode(doc)
	if err != nil {
		return nil, fmt.Errorf("the state: %w", err)
	}
	p, err := decode(patch)
	if err != nil {
		return nil, fmt.Errorf("the patch: %w", err)
	}
	//workflowcheck:ignore it sorts the keys
	return json.Marshal(merge(d, p))
}

// Diff returns the merge patch that makes after of before; it is empty where they
// are equal. A value null is the same as none.
func Diff(before, after json.RawMessage) (json.RawMessage, error) {
	b, err := decode(before)
	if err != nil {
		return nil, err
	}
	a, err := decode(after)
	if err != nil {
		return nil, err
	}
	patch, differs := diff(b, a)
	if !differs {
		return nil, nil
	}
	//workflowcheck:ignore it sorts the keys
	return json.Marshal(patch)
}

// decode keeps numbers as they are written.
func decode(data json.RawMessage) (any, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	//workflowcheck:ignore it decides by data alone
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	//workflowcheck:ignore likewise
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is more than one JSON value")
	}
	return v, nil
}

// CheckData returns why data cannot be a saga's state: it wraps
// [holdfast.ErrTooLarge].
func CheckData(data []byte) error {
	if len(data) > MaxData {
		return fmt.Errorf("%w: the saga's state has %d bytes of JSON, the limit is %d: store large data elsewhere and keep a reference", holdfast.ErrTooLarge, len(data), MaxData)
	}
	return nil
}

func merge(doc, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	d, ok := doc.(map[string]any)
	if !ok {
		d = map[string]any{}
	}
	//workflowcheck:ignore the order does not matter
	for k, v := range p {
		if v == nil {
			delete(d, k)
			continue
		}
		d[k] = merge(d[k], v)
	}
	return d
}

func diff(before, after any) (patch any, differs bool) {
	b, bok := before.(map[string]any)
	a, aok := after.(map[string]any)
	if !aok || !bok {
		return without(after), !reflect.DeepEqual(before, after)
	}
	out := map[string]any{}
	//workflowcheck:ignore the order does not matter
	for k, old := range b {
		if now, there := a[k]; !there || now == nil {
			if old != nil {
				out[k] = nil
			}
		}
	}
	//workflowcheck:ignore the order does not matter
	for k, now := range a {
		if now == nil {
			continue
		}
		old, there := b[k]
		if !there || old == nil {
			out[k] = without(now)
			continue
		}
		if p, changed := diff(old, now); changed {
			out[k] = p
		}
	}
	return out, len(out) > 0
}

// without drops what is null from objects, which a merge patch cannot say.
func without(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	//workflowcheck:ignore the order does not matter
	for k, x := range m {
		if x != nil {
			out[k] = without(x)
		}
	}
	return out
}
