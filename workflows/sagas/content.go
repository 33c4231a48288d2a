package sagas

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/holdfastmq/holdfast/saga/core"
)

// ContentOf returns a digest of what a saga is started with, by which two uses of one
// key are told apart: of the state's JSON, whatever the order of its fields and the
// space between them. The definition's name is a part of the saga's ID; its version
// does not count. Of a state that is encrypted, which is another each time, it is the digest
// that goes with it.
func ContentOf(data json.RawMessage) string {
	if s, ok := core.SealedOf(data); ok && s.Content != "" {
		return s.Content
	}
	sum := sha256.Sum256(canonical(data))
	return hex.EncodeToString(sum[:16])
}

// canonical is the JSON of what data says; data itself where it is none.
func canonical(data json.RawMessage) []byte {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	//workflowcheck:ignore it decides by data alone
	if d.Decode(&v) != nil {
		return data
	}
	//workflowcheck:ignore it sorts the keys
	out, err := json.Marshal(v)
	if err != nil {
		return data
	}
	return out
}
