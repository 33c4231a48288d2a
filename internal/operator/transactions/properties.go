package transactions

import (
	"strconv"
	"strings"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
)

// Properties are the properties of a message, those that it has.
type Properties struct {
	Type            string `json:"type,omitempty"`
	CorrelationID   string `json:"correlation_id,omitempty"`
	CausationID     string `json:"causation_id,omitempty"`
	ContentEncoding string `json:"content_encoding,omitempty"`
	ReplyTo         string `json:"reply_to,omitempty"`
	AppID           string `json:"app_id,omitempty"`
	Priority        uint8  `json:"priority,omitempty"`
	TTL             int64  `json:"ttl_ms,omitempty"`
}

func propertiesOf(m holdfast.Message) Properties {
	return Properties{Type: m.Type, CorrelationID: m.CorrelationID, CausationID: m.CausationID,
		ContentEncoding: m.ContentEncoding, ReplyTo: m.ReplyTo, AppID: m.AppID, Priority: m.Priority,
		TTL: m.TTL.Milliseconds()}
}

// Line is one of them; empty if there are none.
func (p Properties) Line() string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	add("type", p.Type)
	add("correlation", p.CorrelationID)
	add("caused by", p.CausationID)
	add("encoding", p.ContentEncoding)
	add("reply to", p.ReplyTo)
	add("application", p.AppID)
	if p.Priority > 0 {
		add("priority", strconv.Itoa(int(p.Priority)))
	}
	if p.TTL > 0 {
		add("time to live", (time.Duration(p.TTL) * time.Millisecond).String())
	}
	return strings.Join(parts, ", ")
}
