variable "project" {
  description = "The Google Cloud project's id."
  type        = string
}

variable "region" {
  description = "The region of agent, service and cache, such as europe-west1."
  type        = string
}

variable "datadog_site" {
  description = "The Datadog site of the organization, such as datadoghq.eu."
  type        = string
  default     = "datadoghq.com"
}

variable "datadog_api_key" {
  description = "A Datadog API key. It goes to Secret Manager, and neither into the plan nor into the state."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "datadog_api_key_version" {
  description = "Raise it to have a changed datadog_api_key written."
  type        = number
  default     = 1
}

variable "sidecar" {
  description = "True: a Datadog Agent of its own beside the service, in place of the shared one."
  type        = bool
  default     = false
}

variable "agent_name" {
  description = "The name of the agent's service."
  type        = string
  default     = "datadog-agent"
}

variable "agent_image" {
  description = "The image of the shared agent. Pin a version in production."
  type        = string
  default     = "gcr.io/datadoghq/agent:7"
}

variable "sidecar_image" {
  description = "The image of the agent beside the service. Pin a version in production."
  type        = string
  default     = "gcr.io/datadoghq/serverless-init:1"
}

variable "agent_min_instances" {
  description = "Instances of the shared agent that are there always. With 0 the first spans wait for a start of about ten seconds."
  type        = number
  default     = 1
}

variable "agent_max_instances" {
  description = "Instances of the shared agent at most. Each works out sampling rates of its own, so few are better than many."
  type        = number
  default     = 3
}

variable "agent_ingress" {
  description = "From where the shared agent can be reached: INGRESS_TRAFFIC_ALL, INGRESS_TRAFFIC_INTERNAL_ONLY or INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER. Who may call it is decided by roles/run.invoker in any case."
  type        = string
  default     = "INGRESS_TRAFFIC_ALL"
}

variable "agent_url" {
  description = "The URL that services call the shared agent by, if it is not Cloud Run's own: a custom domain's or a load balancer's. It needs custom_audiences."
  type        = string
  default     = null
}

variable "custom_audiences" {
  description = "Audiences that the shared agent's service takes beside its own URL. Services send tokens for the first."
  type        = list(string)
  default     = []
}

variable "invokers" {
  description = "Who else may send to the shared agent, as IAM members: serviceAccount:other@acme.iam.gserviceaccount.com."
  type        = set(string)
  default     = []
}

variable "service" {
  description = "The service that is traced: its name, image and port; env, version and other variables; public lets everyone call it, cpu_always bills by instance and keeps the CPU between requests."
  type = object({
    name       = string
    image      = string
    port       = optional(number, 8080)
    args       = optional(list(string), [])
    env        = optional(string, "prod")
    version    = optional(string)
    variables  = optional(map(string), {})
    public     = optional(bool, false)
    cpu_always = optional(bool, true)
  })
}

variable "token_cache" {
  description = "True: a Memorystore for Redis in which the instances share their ID token."
  type        = bool
  default     = false
}

variable "token_cache_key" {
  description = "What openssl rand -base64 32 prints: seals the tokens in Redis. Only with token_cache."
  type        = string
  default     = ""
  sensitive   = true
  ephemeral   = true
}

variable "network" {
  description = "The VPC network of the token cache."
  type        = string
  default     = "default"
}

variable "subnetwork" {
  description = "The subnetwork, in the region, by which the service reaches the token cache."
  type        = string
  default     = "default"
}

variable "forward_logs" {
  description = "True: the service's logs go from Cloud Logging through Pub/Sub and Dataflow to Datadog."
  type        = bool
  default     = false
}
