package emulator

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MetadataServerOptions describe the instance that the metadata server is of.
// The zero value is a service of a project that does not exist.
type MetadataServerOptions struct {
	// Email is the service account's. Empty: the project's default account.
	Email string

	// ProjectID is the project's. Empty: "kumihimo-local".
	ProjectID string

	// Region is where the instance is. Empty: "us-central1".
	Region string

	// TokenLife is the life of each token. Zero: an hour, as Google's.
	// Negative: the tokens have expired by that much when they are issued.
	TokenLife time.Duration

	// Fault, if set, gets each request first.
	Fault Fault
}

func (o MetadataServerOptions) withDefaults() MetadataServerOptions {
	if o.ProjectID == "" {
		o.ProjectID = "kumihimo-local"
	}
	if o.Region == "" {
		o.Region = "us-central1"
	}
	if o.Email == "" {
		o.Email = digits(o.ProjectID, 12) + "-compute@developer.gserviceaccount.com"
	}
	if o.TokenLife == 0 {
		o.TokenLife = time.Hour
	}
	return o
}

// digits makes a number of n digits out of a name: the same each time.
func digits(name string, n int) string {
	sum := sha256.Sum256([]byte(name))
	a, b := binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])
	return ("1" + fmt.Sprintf("%019d%020d", a>>1, b))[:n]
}

// MetadataServer answers as the metadata server of Cloud Run, GCE and GKE
// does, with ID tokens for any audience. Its methods are safe for concurrent
// use. See https://cloud.google.com/run/docs/container-contract#metadata-server.
type MetadataServer struct {
	server   *server
	opts     MetadataServerOptions
	values   map[string]string // by path below computeMetadata/v1
	requests atomic.Int64

	mu  sync.Mutex // guards key
	key *signingKey
}

// StartMetadataServer listens on a loopback port.
func StartMetadataServer(o MetadataServerOptions) (*MetadataServer, error) {
	s, err := listen()
	if err != nil {
		return nil, err
	}
	m := &MetadataServer{server: s, opts: o.withDefaults()}
	m.values = m.instance()
	s.serve(http.HandlerFunc(m.serveHTTP), m.opts.Fault)
	return m, nil
}

// Close ends the server and waits for it.
func (m *MetadataServer) Close() error { return m.server.close() }

// Host is the server's host:port, for GCE_METADATA_HOST.
func (m *MetadataServer) Host() string { return m.server.host() }

// CertsURL is where the public keys are, as a JSON Web Key Set.
func (m *MetadataServer) CertsURL() string { return m.server.url() + certsPath }

// Requests returns how many tokens were asked for.
func (m *MetadataServer) Requests() int64 { return m.requests.Load() }

// RotateKey makes the next token the first of a new key. A front end refuses
// those of the old one from now on.
func (m *MetadataServer) RotateKey() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.key = nil
}

// signer returns the key. It is made when the first token is asked for: that
// takes a tenth of a second, which who only wants an agent is spared.
func (m *MetadataServer) signer() (*signingKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.key == nil {
		key, err := newSigningKey()
		if err != nil {
			return nil, err
		}
		m.key = key
	}
	return m.key, nil
}

const (
	certsPath    = "/certs"
	metadataRoot = "/computeMetadata/v1/"
	accounts     = "instance/service-accounts/"
)

// instance returns what is known of the instance, but for its tokens. See
// https://cloud.google.com/run/docs/container-contract#metadata-server.
func (m *MetadataServer) instance() map[string]string {
	number := digits(m.opts.ProjectID, 12)
	place := "projects/" + number
	return map[string]string{
		"project/project-id":         m.opts.ProjectID,
		"project/numeric-project-id": number,
		"instance/id":                digits(m.server.host(), 19),
		"instance/region":            place + "/regions/" + m.opts.Region,
		"instance/zone":              place + "/zones/" + m.opts.Region + "-1",
		accounts + "default/email":   m.opts.Email,
	}
}

func (m *MetadataServer) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == certsPath {
		m.serveCerts(w)
		return
	}
	w.Header().Set("Metadata-Flavor", "Google")
	w.Header().Set("Server", "Metadata Server for Serverless")
	switch {
	case r.Header.Get("X-Forwarded-For") != "":
		http.Error(w, "a request that came through a proxy", http.StatusForbidden)
	case r.Header.Get("Metadata-Flavor") != "Google":
		http.Error(w, "Missing Metadata-Flavor:Google header.", http.StatusForbidden)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	default:
		m.serveValue(w, r)
	}
}

func (m *MetadataServer) serveValue(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, metadataRoot)
	if rest, own := strings.CutPrefix(path, accounts+m.opts.Email+"/"); own {
		path = accounts + "default/" + rest
	}
	if path == accounts+"default/identity" {
		m.serveToken(w, r)
		return
	}
	value, known := m.values[path]
	if !ok || !known {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/text")
	_, _ = io.WriteString(w, value)
}

func (m *MetadataServer) serveToken(w http.ResponseWriter, r *http.Request) {
	m.requests.Add(1)
	query := r.URL.Query()
	aud, format := query.Get("audience"), query.Get("format")
	if aud == "" {
		http.Error(w, "non-empty audience parameter required", http.StatusBadRequest)
		return
	}
	if format != "" && format != "standard" && format != "full" {
		http.Error(w, "format must be standard or full", http.StatusBadRequest)
		return
	}
	key, err := m.signer()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	token, err := key.sign(tokenHeader{Algorithm: algorithm, KeyID: key.id, Type: "JWT"}, m.claims(aud, format == "full"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, token)
}

// claims are of a token that is issued now, or has been if it is to be over.
func (m *MetadataServer) claims(aud string, full bool) claims {
	issued, life := time.Now(), m.opts.TokenLife
	if life < 0 {
		issued, life = issued.Add(life-time.Hour), time.Hour
	}
	id := digits(m.opts.Email, 21)
	c := claims{
		Issuer: issuer, Audience: audience{aud}, Subject: id, Party: id,
		Email: m.opts.Email, EmailVerified: true,
		IssuedAt: issued.Unix(), Expires: issued.Add(life).Unix(),
	}
	if full {
		number, _ := strconv.ParseInt(m.values["project/numeric-project-id"], 10, 64)
		c.Google = map[string]any{"compute_engine": map[string]any{
			"project_id":     m.opts.ProjectID,
			"project_number": number,
			"zone":           m.opts.Region + "-1",
			"instance_id":    m.values["instance/id"],
		}}
	}
	return c
}

func (m *MetadataServer) serveCerts(w http.ResponseWriter) {
	key, err := m.signer()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Header().Set("Cache-Control", "public, max-age=0")
	_, _ = w.Write(key.jwks())
}
