package wire

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/holdfastmq/holdfast"
)

// boundedList is a list in JSON that somebody else wrote: without the limit, a short
// text of empty elements would fill the memory with large ones.
type boundedList[T any, L interface{ limit() (string, int) }] []T

// UnmarshalJSON counts the elements before it reads them, and copies nothing: a list
// may be as long as a half message.
func (l *boundedList[T, L]) UnmarshalJSON(text []byte) error {
	*l = nil
	if string(text) == "null" {
		return nil
	}
	var bound L
	name, most := bound.limit()
	if !bytes.HasPrefix(text, []byte("[")) {
		return fmt.Errorf("%s: want a list, it begins with %q", name, Clip(string(text[:min(len(text), 64)]), 16))
	}
	if commas(text) >= most {
		return fmt.Errorf("%s: more than %d elements", name, most)
	}
	return json.Unmarshal(text, (*[]T)(l))
}

// commas counts those between the elements of a list that is valid JSON.
func commas(list []byte) (n int) {
	depth := 0
	for i := 0; i < len(list); i++ {
		switch list[i] {
		case '"':
			for i++; i < len(list) && list[i] != '"'; i++ {
				if list[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case ',':
			if depth == 1 {
				n++
			}
		}
	}
	return n
}

// The limits of lists.
type (
	ofMessages struct{}
	ofAnswers  struct{}
	ofStatus   struct{}
)

// One more, so that whoever looks at them can say how many are too many.
func (ofMessages) limit() (string, int) { return "messages", holdfast.MaxMessages + 1 }

func (ofAnswers) limit() (string, int) { return "answers", 2 * MaxCheckTxs }

func (ofStatus) limit() (string, int) { return "status", 1000 }

// MessageList are the messages of a transaction.
type MessageList = boundedList[holdfast.Message, ofMessages]
