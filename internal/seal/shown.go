package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

// Shown opens all that is sealed in a document of JSON, for people to read it, such as the
// payloads of a workflow's history: messages, states, patches of states, what steps are given
// and answer. What cannot be opened stays as it is, and err says why, of the first; what is no
// JSON is returned as it is.
func (b *Box) Shown(ctx context.Context, data []byte) (out []byte, err error) {
	if !HasSealed(data) && !bytes.Contains(data, []byte(SealedType)) {
		return data, nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.More() {
		return data, nil
	}
	s := shower{ctx: ctx, box: b}
	v = s.show(v)
	if out, wrong := json.Marshal(v); wrong == nil {
		return out, s.err
	}
	return data, s.err
}

type shower struct {
	ctx context.Context
	box *Box
	err error
}

func (s *shower) failed(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *shower) show(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = s.show(v[i])
		}
	case map[string]any:
		if m, is := s.message(v); is {
			return m
		}
		if header, is := v[core.FieldSealed].(map[string]any); is {
			return s.sealed(v, header)
		}
		for name := range v {
			v[name] = s.show(v[name])
		}
	}
	return v
}

// message opens a message as [holdfast.Message] is written.
func (s *shower) message(v map[string]any) (any, bool) {
	kind, _ := v["content_type"].(string)
	if !isSealedType(kind) || v["topic"] == nil {
		return nil, false
	}
	data, err := json.Marshal(v)
	var m holdfast.Message
	if err != nil || json.Unmarshal(data, &m) != nil {
		return nil, false
	}
	opened, err := s.box.OpenOwn(s.ctx, m)
	if err != nil {
		s.failed(err)
		return v, true
	}
	out, err := json.Marshal(opened)
	if err != nil {
		return nil, false
	}
	return json.RawMessage(out), true
}

// sealed opens a state, a patch, or a step's value.
func (s *shower) sealed(v, header map[string]any) any {
	owner, _ := header["owner"].(string)
	if text, is := v["value"].(string); is && header["kind"] != nil {
		step, _ := header["step"].(string)
		kind, _ := header["kind"].(string)
		o := of{Owner: owner, Step: step, Kind: kind}
		plain, sealed, err := s.box.openValue(s.ctx, o.String(), text, o.bound())
		switch {
		case err != nil:
			s.failed(err)
		case sealed && json.Valid(plain):
			return json.RawMessage(plain)
		}
		return v
	}
	delete(v, core.FieldSealed)
	if !s.fields(owner, nil, v) {
		v[core.FieldSealed] = header
	}
	return v
}

// fields opens what it can, and reports whether that was all.
func (s *shower) fields(owner string, path []string, fields map[string]any) (all bool) {
	all = true
	for name, v := range fields {
		at := append(path[:len(path):len(path)], name)
		switch v := v.(type) {
		case map[string]any:
			all = s.fields(owner, at, v) && all
		case string:
			plain, sealed, err := s.box.openValue(s.ctx, describeField(owner, at), v, boundTo("state", prepend(owner, at)...))
			switch {
			case err != nil:
				s.failed(err)
				all = false
			case sealed && json.Valid(plain):
				fields[name] = json.RawMessage(plain)
			}
		}
	}
	return all
}

// Note says in a line why something is not shown that is encrypted: err is of opening it.
func Note(err error) string {
	if Missing(err) && strings.Contains(err.Error(), holdfast.ErrNoKey.Error()) {
		return fmt.Sprintf("encrypted: give HOLDFAST_KEYRING a keyring that has its key (%v)", err)
	}
	return "encrypted: " + err.Error()
}
