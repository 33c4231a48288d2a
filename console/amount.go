package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// Item is a saga or a dead letter that an operator is about to act on.
type Item struct {
	// Kind is "saga" or "dead letter".
	Kind string
	// ID is the saga's, or the ID of the dead letter's workflow. Act is the action, such as
	// "retry" or "redeliver".
	ID, Act string
	// Group is its group, Name the saga's name; Consumer and Topic are the dead letter's.
	Group, Name, Consumer, Topic string
	// Key is the business key.
	Key string
	// Data is the saga's state in JSON, or the body of the message as it was sent, decrypted
	// where it was encrypted. Nil where Unreadable says why it cannot be read, such as that the
	// console has not its key: take this as a reason for a second person.
	Data       []byte
	Unreadable string
}

// longestNumber and largestExponent bound the numbers that are compared: what is beyond counts as
// over.
const longestNumber, largestExponent = 400, 1000

var (
	errNoObject = errors.New("it is no JSON object")
	errTwice    = errors.New("it is there more than once")
	errAbsent   = errors.New("it is not there")
	errNoNumber = errors.New("it is no number")
)

// OverAmount returns a function for Options.ApproveWhen: a second person is needed where a number is
// over a limit, such as "1000" or "99.90", or under its negative. field is where the number is in the
// data, with dots between the names of objects within objects, such as "order.total". Where it is
// not there, is there twice, is no number or cannot be read, one is needed too. An error says that
// the limit is no number, is negative, or that a name is empty.
func OverAmount(limit, field string) (func(Item) (needed bool, why string), error) {
	most, err := number(limit)
	if err != nil || most.Sign() < 0 {
		return nil, fmt.Errorf("the amount %q: want a number, 0 or more", limit)
	}
	names := strings.Split(field, ".")
	for _, name := range names {
		if name == "" {
			return nil, fmt.Errorf("the field %q: want a name, or names with dots between them", field)
		}
	}
	return func(i Item) (bool, string) {
		if i.Unreadable != "" {
			return true, "its " + field + " cannot be read: " + i.Unreadable
		}
		raw, err := at(i.Data, names)
		if err != nil {
			return true, "its " + field + " cannot be told: " + err.Error()
		}
		n, err := number(string(raw))
		switch {
		case err != nil:
			return true, "its " + field + " cannot be told: " + err.Error()
		case n.Abs(n).Cmp(most) > 0:
			return true, fmt.Sprintf("its %s is %s, which is over %s", field, raw, limit)
		}
		return false, ""
	}, nil
}

// isNumber matches what JSON calls a number, and takes its exponent.
var isNumber = regexp.MustCompile(`^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE]([+-]?[0-9]+))?$`)

// number reads a number of JSON exactly.
func number(s string) (*big.Rat, error) {
	found := isNumber.FindStringSubmatch(s)
	if len(s) > longestNumber || found == nil {
		return nil, errNoNumber
	}
	if e := found[1]; e != "" {
		if n, err := strconv.Atoi(e); err != nil || n > largestExponent || n < -largestExponent {
			return nil, errors.New("it is too large, or too small, to be compared")
		}
	}
	n, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil, errNoNumber
	}
	return n, nil
}

// at returns what JSON has at a path of names. A name that is there twice is nobody's word: of two
// programs, each could take another one.
func at(data []byte, names []string) (json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, errNoObject
	}
	var found json.RawMessage
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, errNoObject
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, errNoObject
		}
		if s, ok := name.(string); !ok || !strings.EqualFold(s, names[0]) {
			continue
		}
		if found != nil {
			return nil, errTwice
		}
		found = value
	}
	if _, err := d.Token(); err != nil || len(bytes.TrimSpace(data[d.InputOffset():])) > 0 {
		return nil, errNoObject
	}
	switch {
	case found == nil:
		return nil, errAbsent
	case len(names) > 1:
		return at(found, names[1:])
	}
	return found, nil
}
