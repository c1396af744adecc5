# A shared agent behind a domain of its own, tokens shared through Memorystore
# (export TF_VAR_token_cache_key), a public service that is billed by request,
# and its logs in Datadog too.
project      = "acme-shop"
region       = "europe-west1"
datadog_site = "datadoghq.eu"

agent_url        = "https://agent.acme.example"
custom_audiences = ["https://agent.acme.example"]
invokers         = ["serviceAccount:inventory@acme-shop.iam.gserviceaccount.com"]

token_cache  = true
forward_logs = true

service = {
  name       = "shop"
  image      = "europe-west1-docker.pkg.dev/acme-shop/shop/shop:1.4.0"
  version    = "1.4.0"
  public     = true
  cpu_always = false
  variables  = { OBS_LOG = "info" }
}
