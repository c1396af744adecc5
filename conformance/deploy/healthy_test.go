package deploy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/obs/emulator"
)

// A deployment is a service as it was deployed, and the agent in front of it.
type deployment struct {
	name     string
	job      bool // not a service
	env      map[string]string
	account  string   // that it runs as
	project  string   // where
	invokers []string // of the agent
	audience []string // custom ones of the agent
}

// example builds the example once.
var example = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "chi-app")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "chi-app")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", file, "./examples/chi-app")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return string(out), err
	}
	return file, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := example(); err == nil {
		os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

// world returns the deployment's variables as they are, and those of the world
// around it, which is the emulator: the metadata server is named by
// GCE_METADATA_HOST, and the agent's host is reached through a proxy, which shows
// a certificate for it. Behind is the agent.
func (d deployment) world(t *testing.T, agent string) (env map[string]string) {
	t.Helper()
	metadata, err := emulator.StartMetadataServer(emulator.MetadataServerOptions{Email: d.account, ProjectID: d.project})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { metadata.Close() })
	env = maps.Clone(d.env)
	env["PATH"] = os.Getenv("PATH")
	if d.job {
		env["CLOUD_RUN_JOB"], env["CLOUD_RUN_EXECUTION"] = d.name, d.name+"-abcde"
	} else {
		env["K_SERVICE"], env["K_REVISION"] = d.name, d.name+"-00001-abc"
	}
	env["GCE_METADATA_HOST"] = metadata.Host()
	u, err := url.Parse(d.env["DD_TRACE_AGENT_URL"])
	if err != nil {
		t.Fatal(err)
	}
	if u.Scheme != "https" {
		env["DD_TRACE_AGENT_URL"] = strings.Replace(u.String(), "http://localhost:8126", agent, 1)
		return env
	}
	audience := u.Scheme + "://" + u.Host
	if !strings.HasSuffix(u.Hostname(), ".run.app") {
		audience = strings.Join(d.audience, " ") // a domain alone is none
	}
	front, err := emulator.StartFrontEnd(emulator.FrontEndOptions{Backend: agent, Metadata: metadata, Audience: audience, Invokers: d.invokers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { front.Close() })
	env["HTTPS_PROXY"], env["SSL_CERT_FILE"] = standIn(t, u.Hostname(), front.URL())
	return env
}

// command is the example, to be run in an environment.
func command(t *testing.T, env map[string]string, args ...string) *exec.Cmd {
	t.Helper()
	file, err := example()
	if err != nil {
		t.Fatalf("%v\n%s", err, file)
	}
	cmd := exec.CommandContext(t.Context(), file, args...)
	for _, k := range slices.Sorted(maps.Keys(env)) {
		cmd.Env = append(cmd.Env, k+"="+env[k])
	}
	return cmd
}

// check runs the example with -check as it was deployed.
func (d deployment) check(t *testing.T) (output string, code int) {
	t.Helper()
	agent, err := emulator.StartAgent(emulator.AgentOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { agent.Close() })
	env := d.world(t, agent.URL())
	cmd := command(t, env, "-check")
	printed, _ := cmd.CombinedOutput() // its error is the exit code
	return strings.ReplaceAll(string(printed), env["GCE_METADATA_HOST"], "169.254.169.254"), cmd.ProcessState.ExitCode()
}

// standIn serves host's https with what is behind, reached through a proxy. It
// returns the proxy's URL and a file with the certificate.
func standIn(t *testing.T, host, behind string) (proxy, certificate string) {
	t.Helper()
	target, err := url.Parse(behind)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(target))
	cert, file := selfSigned(t, host)
	front.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	front.StartTLS()
	t.Cleanup(front.Close)
	tunnel := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != host+":443" {
			http.Error(w, "no way to "+r.Host, http.StatusBadGateway)
			return
		}
		there, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", front.Listener.Addr().String())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer there.Close()
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer here.Close()
		if _, err := io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			return
		}
		go io.Copy(there, here) //nolint:errcheck // until one of them has gone
		io.Copy(here, there)    //nolint:errcheck // likewise
	}))
	t.Cleanup(tunnel.Close)
	return tunnel.URL, file
}

func selfSigned(t *testing.T, host string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// healthy says that nothing is wrong, and nothing skipped but a cache and, with
// a sidecar, what has to do with tokens.
func healthy(t *testing.T, output string, code int, tokens bool) {
	t.Helper()
	if code != 0 || strings.Contains(output, "failed") || strings.Contains(output, "warning") {
		t.Errorf("exit code %d", code)
	}
	want := []string{"metadata", "project", "agent", "clock"}
	if tokens {
		want = append(want, "token", "frontend")
	}
	for _, name := range want {
		if !regexp.MustCompile(`(?m)^` + name + ` +ok `).MatchString(output) {
			t.Errorf("%s: not ok", name)
		}
	}
	t.Logf("printed:\n%s", output)
}

// documented is the service as docs/cloud-run.md deploys it the n-th time.
func documented(t *testing.T, calls []call, n int) deployment {
	t.Helper()
	deploy := nth(t, calls, "run deploy shop", n).flagsOf("shop")
	return deployment{
		name: "shop", env: pairs(deploy["--set-env-vars"]), account: deploy["--service-account"],
		project: nth(t, calls, "config set project", 0)[3], invokers: invokers(calls),
	}
}

// TestDocumentedServiceIsHealthy: who only copies ends with what -check calls
// healthy.
func TestDocumentedServiceIsHealthy(t *testing.T) {
	t.Parallel()
	calls := run(t, "docs/cloud-run.md")["gcloud"]
	t.Run("shared agent", func(t *testing.T) {
		t.Parallel()
		output, code := documented(t, calls, 0).check(t)
		healthy(t, output, code, true)
	})
	t.Run("the job that checks", func(t *testing.T) {
		t.Parallel()
		d, job := documented(t, calls, 0), nth(t, calls, "run jobs deploy shop-check", 0).flagsOf("")
		if diff := gocmp.Diff(d.env, pairs(job["--set-env-vars"])); diff != "" {
			t.Errorf("variables (-service +job):\n%s", diff)
		}
		if job["--args"] != "-check" || job["--service-account"] != d.account {
			t.Errorf("the job is %v", job)
		}
		d.name, d.job = "shop-check", true
		output, code := d.check(t)
		healthy(t, output, code, true)
		shown := regexp.MustCompile(`valid for \S+`).ReplaceAllString(output, "valid for 59m59s")
		hold(t, "docs/cloud-run.md", "not run: conformance/deploy prints it, and holds it here", "```text\n"+shown+"```\n")
	})
	t.Run("custom domain", func(t *testing.T) {
		t.Parallel()
		d := documented(t, calls, 0)
		maps.Copy(d.env, pairs(nth(t, calls, "run services update shop", 0).flagsOf("")["--update-env-vars"]))
		d.audience = []string{nth(t, calls, "run services update datadog-agent", 0).flagsOf("")["--add-custom-audiences"]}
		output, code := d.check(t)
		healthy(t, output, code, true)
		if !strings.Contains(output, "https://agent.acme.example") {
			t.Error("the domain is not used")
		}
	})
	t.Run("sidecar", func(t *testing.T) {
		t.Parallel()
		output, code := documented(t, calls, 1).check(t)
		healthy(t, output, code, false)
	})
}

// TestUnhealthy: the same with a step left out is not healthy.
func TestUnhealthy(t *testing.T) {
	t.Parallel()
	calls := run(t, "docs/cloud-run.md")["gcloud"]
	for name, tt := range map[string]struct {
		change func(*deployment)
		want   string
	}{
		"without the role":     {func(d *deployment) { d.invokers = []string{} }, "gcloud run services add-iam-policy-binding datadog-agent"},
		"without the audience": {func(d *deployment) { d.env["OBS_AGENT_AUDIENCE"] = "https://other.example" }, "--add-custom-audiences=https://other.example"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := documented(t, calls, 0)
			tt.change(&d)
			if output, code := d.check(t); code != 1 || !strings.Contains(output, tt.want) {
				t.Errorf("exit code %d:\n%s", code, output)
			}
		})
	}
}
