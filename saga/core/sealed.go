package core

import "encoding/json"

// FieldSealed is the field of a state whose values are encrypted: it holds a [Sealed]. No
// type of a state has a field of this name.
const FieldSealed = "holdfast-sealed"

// FieldNulls is the field of a patch that says where an object has a null; it is never
// encrypted.
const FieldNulls = fieldNulls

// Sealed says of an encrypted state what has to be known without the key.
type Sealed struct {
	// Owner is the ID of the saga for which its values are encrypted: its own, or that of
	// one which has it as a step, or is one.
	Owner string `json:"owner"`
	// Content is a keyed digest of a first state; empty in any other.
	Content string `json:"content,omitempty"`
}

// SealedOf returns what data says of its encryption; ok is false where it says nothing.
func SealedOf(data json.RawMessage) (s Sealed, ok bool) {
	var header struct {
		Sealed *Sealed `json:"holdfast-sealed"`
	}
	//workflowcheck:ignore it decides by data alone
	if json.Unmarshal(data, &header) != nil || header.Sealed == nil {
		return s, false
	}
	return *header.Sealed, true
}
