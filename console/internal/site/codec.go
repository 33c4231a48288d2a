package site

import (
	"net/http"

	"go.temporal.io/sdk/converter"

	"github.com/holdfastmq/holdfast/console/internal/login"
)

// maxPayloads is how many bytes of payloads are decoded in one request.
const maxPayloads = 16 << 20

// codec serves Temporal's web UI the remote codec that it asks to show what is encrypted: to
// its origin alone, and to operators who are logged in here: it decrypts whatever it is given,
// while the pages show a viewer what is on them. The browser sends the session's cookie where
// both are of one site. What the UI asks by itself does not keep the session alive.
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
		of, ok := s.session(r, false)
		if !ok {
			http.Error(w, "Log in to the console first.", http.StatusUnauthorized)
			return
		}
		if !of.Role.May(login.Operator) {
			s.refuse(r, of, "codec", "", "", "the role "+of.Role.String()+" may not do that")
			http.Error(w, "The codec is for the role "+login.Operator.String()+" of the console; yours is "+of.Role.String()+".",
				http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxPayloads)
		decode.ServeHTTP(w, r)
	})
}
