package server

import (
	"context"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"

	"github.com/holdfastmq/holdfast/internal/seal"
)

// Codec is what Temporal's web UI and command line ask to show what is encrypted in
// histories. It encodes nothing: what Holdfast encrypts, it encrypts itself.
type Codec struct{ Box *seal.Box }

var _ converter.PayloadCodec = Codec{}

// Encode returns the payloads as they are.
func (Codec) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) { return payloads, nil }

// Decode opens what is encrypted in payloads of JSON. What cannot be opened stays as it is,
// and says itself that it is encrypted.
func (c Codec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	out := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		out[i] = p
		if string(p.GetMetadata()[converter.MetadataEncoding]) != converter.MetadataEncodingJSON {
			continue
		}
		shown, _ := c.Box.Shown(context.Background(), p.GetData()) // of what is not shown, the others still are
		out[i] = proto.CloneOf(p)
		out[i].Data = shown
	}
	return out, nil
}
