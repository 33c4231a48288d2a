package site

import (
	"net/http"

	"go.temporal.io/sdk/converter"
)

// maxPayloads is how many bytes of payloads are decoded in one request.
const maxPayloads = 16 << 20

// codec serves Temporal's web UI the remote codec that it asks to show what is encrypted: to
// its origin alone, and to who is logged in here. The browser sends the session's cookie
// where both are of one site.
func (s *Site) codec() http.Handler {
	if s.Codec == nil || s.CodecOrigin == "" {
		return http.NotFoundHandler()
	}
	decode := converter.NewPayloadCodecHTTPHandler(s.Codec)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		if r.Header.Get("Origin") != s.CodecOrigin {
			s.warn(r, "a request of another site for the codec was refused", "origin", cut(r.Header.Get("Origin")))
			http.Error(w, "The codec is for Temporal's web UI alone: see HOLDFAST_TEMPORAL_UI.", http.StatusForbidden)
			return
		}
		h.Set("Access-Control-Allow-Origin", s.CodecOrigin)
		h.Set("Access-Control-Allow-Credentials", "true")
		if r.Method == http.MethodOptions {
			h.Set("Access-Control-Allow-Methods", http.MethodPost)
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Namespace")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if _, ok := s.session(r, true); !ok { // whatever the role: a viewer sees bodies on the pages, too
			http.Error(w, "Log in to the console first.", http.StatusUnauthorized)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxPayloads)
		decode.ServeHTTP(w, r)
	})
}
