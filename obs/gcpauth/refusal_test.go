package gcpauth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRefusal follows the last answer: whose token was refused, for whom, and
// what its owner lacks.
func TestRefusal(t *testing.T) {
	t.Parallel()
	first, second := mint(t, 10*time.Minute, time.Hour), mint(t, 0, time.Hour)
	forbidden := Refusal{Status: 403, Identity: testEmail, Audience: []string{testAudience}, Role: "roles/run.invoker"}
	unauthorized := Refusal{Status: 401, Identity: testEmail, Audience: []string{testAudience}}
	var statuses []int // of the answers to come
	tr := &Transport{Source: &fixed{tokens: []Token{first, second}}, Origin: "https://agent", Base: roundTrip(func(*http.Request) (*http.Response, error) {
		status := statuses[0]
		statuses = statuses[1:]
		if status == 0 {
			return nil, errDown
		}
		return answer(status, nil), nil
	})}
	for i, test := range []struct {
		statuses []int
		want     Refusal
	}{
		{[]int{200}, Refusal{}},
		{[]int{403}, forbidden},
		{[]int{0}, forbidden}, // no answer says nothing
		{[]int{503}, Refusal{}},
		{[]int{401, 401}, unauthorized},
		{[]int{401}, unauthorized}, // there is no third token
		{[]int{403}, forbidden},
		{[]int{200}, Refusal{}},
	} {
		statuses = test.statuses
		resp, err := tr.RoundTrip(httptest.NewRequest("GET", "https://agent/info", nil))
		if err == nil {
			resp.Body.Close()
		}
		if d := cmp.Diff(test.want, tr.Refusal()); d != "" || len(statuses) > 0 {
			t.Errorf("answer %d: %d requests too few, want -, got +:\n%s", i+1, len(statuses), d)
		}
	}
	if strings.Contains((&Transport{}).Refusal().Identity, "@") {
		t.Error("a transport that has sent nothing was refused")
	}
}

// TestRefusalAfterTheSecondAttempt is about the second token.
func TestRefusalAfterTheSecondAttempt(t *testing.T) {
	t.Parallel()
	now := time.Now()
	other, err := ParseToken(rawToken(testClaims{"aud": []string{"a", "b"}, "sub": "7", "exp": now.Add(time.Hour).Unix()}), now)
	if err != nil {
		t.Fatal(err)
	}
	for second, want := range map[int]Refusal{
		401: {Status: 401, Identity: "7", Audience: []string{"a", "b"}},
		403: {Status: 403, Identity: "7", Audience: []string{"a", "b"}, Role: "roles/run.invoker"},
		500: {},
	} {
		statuses := []int{401, second}
		tr := &Transport{Source: &fixed{tokens: []Token{mint(t, 0, time.Hour), other}}, Origin: "https://agent", Base: roundTrip(func(*http.Request) (*http.Response, error) {
			status := statuses[0]
			statuses = statuses[1:]
			return answer(status, nil), nil
		})}
		resp, err := tr.RoundTrip(httptest.NewRequest("GET", "https://agent/info", nil))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if d := cmp.Diff(want, tr.Refusal()); d != "" || len(statuses) > 0 {
			t.Errorf("%d answers left, want -, got +:\n%s", len(statuses), d)
		}
	}
}
