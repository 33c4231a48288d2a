package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"

	"github.com/holdfastmq/holdfast"
)

// fieldNulls is the field of a patch that says what a merge patch cannot: where an
// object has a null. It holds a list of paths, each a list of keys. A state has no field
// of this name; a version that does not know it takes it for one, which its next step
// drops.
const fieldNulls = "holdfast-nulls"

// Merge applies a JSON merge patch (RFC 7386) to doc, and then sets what its field
// holdfast-nulls names to null; an empty patch changes nothing. The result's keys are
// sorted.
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
	paths := takeNulls(p)
	merged := merge(d, p)
	for _, path := range paths {
		setNull(merged, path)
	}
	//workflowcheck:ignore it sorts the keys
	return json.Marshal(merged)
}

// takeNulls takes the paths of what is to be null out of a patch.
func takeNulls(patch any) (paths [][]string) {
	p, ok := patch.(map[string]any)
	if !ok {
		return nil
	}
	list, ok := p[fieldNulls].([]any)
	if !ok {
		return nil
	}
	for _, one := range list {
		keys, ok := one.([]any)
		if !ok || len(keys) == 0 {
			return nil // a field of the state that has this name
		}
		path := make([]string, len(keys))
		for i, key := range keys {
			if path[i], ok = key.(string); !ok {
				return nil
			}
		}
		paths = append(paths, path)
	}
	delete(p, fieldNulls)
	return paths
}

// setNull sets what path names to null, where the object that it is to be in is there.
func setNull(v any, path []string) {
	m, ok := v.(map[string]any)
	switch {
	case !ok:
	case len(path) == 1:
		m[path[0]] = nil
	default:
		setNull(m[path[0]], path[1:])
	}
}

// lostNulls returns the paths of the nulls that want has and got has not, in order.
func lostNulls(got, want any, path []string) (paths [][]string) {
	w, ok := want.(map[string]any)
	if !ok {
		return nil
	}
	g, _ := got.(map[string]any)
	//workflowcheck:ignore it sorts the keys
	for _, k := range slices.Sorted(maps.Keys(w)) {
		at := append(slices.Clone(path), k)
		if have, there := g[k]; w[k] != nil {
			paths = append(paths, lostNulls(have, w[k], at)...)
		} else if !there {
			paths = append(paths, at)
		}
	}
	return paths
}

// Diff returns the patch that makes after of before; it is empty where they are equal.
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
	merged := b
	if differs {
		merged = merge(b, patch)
	}
	if paths := lostNulls(merged, a, nil); len(paths) > 0 {
		p, _ := patch.(map[string]any) // as what it makes
		p[fieldNulls], differs = paths, true
	}
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
	//workflowcheck:ignore it decides by data alone
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is more than one JSON value")
	}
	return v, nil
}

// CheckData returns why data cannot be a saga's state: it wraps
// [holdfast.ErrTooLarge].
func CheckData(data []byte) error {
	if size := escaped(data); size > MaxData {
		return fmt.Errorf("%w: the saga's state has %d bytes of JSON, the limit is %d: "+
			"store large data elsewhere and keep a reference", holdfast.ErrTooLarge, size, MaxData)
	}
	return nil
}

// escaped is the length of JSON as encoding/json writes it, which escapes what could
// be HTML.
func escaped(data []byte) int {
	size := len(data)
	for _, c := range data {
		if c == '<' || c == '>' || c == '&' {
			size += len(`\u003c`) - 1
		}
	}
	return size
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
		//workflowcheck:ignore it compares JSON
		return without(after), !reflect.DeepEqual(before, after)
	}
	out := map[string]any{}
	//workflowcheck:ignore the order does not matter
	for k, old := range b {
		if now, there := a[k]; !there || now == nil && old != nil {
			out[k] = nil
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
