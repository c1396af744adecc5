package deploy

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// newTerraform returns a function that runs Terraform on a copy of the module,
// after edit, with the stand-in for the provider.
func newTerraform(t *testing.T) func(t *testing.T, edit func(string) string, args ...string) (string, error) {
	t.Helper()
	terraform, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("no terraform here")
	}
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "terraform-provider-google"), "./standin")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	config := filepath.Join(bin, "terraformrc")
	text := "provider_installation {\n dev_overrides {\n \"hashicorp/google\" = \"" + bin + "\"\n }\n direct {}\n}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	schemas, err := filepath.Abs(filepath.Join("testdata", "provider.json"))
	if err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T, edit func(string) string, args ...string) (string, error) {
		t.Helper()
		dir := t.TempDir()
		files, err := filepath.Glob(filepath.Join(root, moduleDir, "*.tf"))
		if err != nil {
			t.Fatal(err)
		}
		examples, err := filepath.Glob(filepath.Join(root, moduleDir, "examples", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range append(files, examples...) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), []byte(edit(string(text))), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), terraform, args...)
		cmd.Dir = dir
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + bin, "TF_CLI_CONFIG_FILE=" + config, "CHECKPOINT_DISABLE=1", "STANDIN_SCHEMA=" + schemas,
			"TF_VAR_datadog_api_key=planted-api-key", "TF_VAR_token_cache_key=planted-cache-key",
		}
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err = cmd.Run()
		return stdout.String() + stderr.String(), err
	}
}

func asIs(text string) string { return text }

// TestTerraformValidates: Terraform takes the module, by the provider's schema.
func TestTerraformValidates(t *testing.T) {
	t.Parallel()
	run := newTerraform(t)
	if out, err := run(t, asIs, "validate", "-no-color"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	wrong := func(text string) string { return strings.Replace(text, "cpu_idle ", "cpu_idlle ", 1) }
	if out, err := run(t, wrong, "validate", "-no-color"); err == nil || !strings.Contains(out, `"cpu_idlle" is not expected here`) {
		t.Errorf("with an argument that does not exist: %v\n%s", err, out)
	}
}

// TestTerraformPlans: Terraform plans each example, and the plan has no secret
// in it.
func TestTerraformPlans(t *testing.T) {
	t.Parallel()
	run := newTerraform(t)
	for example, want := range map[string][]string{
		"shared.tfvars":  {"google_cloud_run_v2_service.agent[0]", `google_cloud_run_v2_service_iam_member.invoker["service"]`, "google_cloud_run_v2_service.service"},
		"sidecar.tfvars": {"google_cloud_run_v2_service.service", "google_secret_manager_secret_iam_member.service_reads_api_key[0]"},
		"full.tfvars": {
			`google_cloud_run_v2_service_iam_member.invoker["serviceAccount:inventory@acme-shop.iam.gserviceaccount.com"]`,
			"google_redis_instance.token_cache[0]", "google_dataflow_job.logs[0]", "google_cloud_run_v2_service_iam_member.public[0]",
		},
	} {
		t.Run(example, func(t *testing.T) {
			t.Parallel()
			out, err := run(t, asIs, "plan", "-json", "-input=false", "-lock=false", "-var-file="+example)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if strings.Contains(out, "planted") {
				t.Error("the plan has a secret in it")
			}
			planned := map[string]bool{}
			for line := range strings.Lines(out) {
				var m struct {
					Change struct {
						Action   string
						Resource struct{ Addr string }
					}
				}
				if err := json.Unmarshal([]byte(line), &m); err == nil && m.Change.Action == "create" {
					planned[m.Change.Resource.Addr] = true
				}
			}
			for _, addr := range want {
				if !planned[addr] {
					t.Errorf("%s is not planned", addr)
				}
			}
			if agent := planned["google_cloud_run_v2_service.agent[0]"]; agent == (example == "sidecar.tfvars") {
				t.Errorf("the shared agent is planned: %t", agent)
			}
			t.Logf("%d resources; %s", len(planned), regexp.MustCompile(`Plan: [^"]*`).FindString(out))
		})
	}
}
