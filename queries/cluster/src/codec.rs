//! Our nodes as bytes; Ballista's own, which come in the same plans, are left to its codec.

use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::arrow::datatypes::Schema;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{AsExecutionPlan, PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use datafusion_proto::protobuf;
use playhouse_queries::remote::SentStepsExec;
use prost::Message;

use crate::whole::WholeExec;

/// Begins the bytes of a node of ours. No message of Ballista's begins so.
const MARK: &[u8] = b"playhouse\n";

/// Functions go by their names, which every machine knows.
#[derive(Debug, Default)]
pub(crate) struct Codec {
    ballista: BallistaPhysicalExtensionCodec,
}

/// One of the two.
#[derive(Clone, PartialEq, prost::Message)]
struct Node {
    #[prost(message, optional, tag = "1")]
    steps: Option<Steps>,
    #[prost(message, optional, tag = "2")]
    whole: Option<protobuf::PhysicalPlanNode>,
}

/// A scan of steps; which of them, its child says.
#[derive(Clone, PartialEq, prost::Message)]
struct Steps {
    #[prost(string, tag = "1")]
    dataset: String,
    #[prost(uint64, repeated, tag = "2")]
    columns: Vec<u64>,
    #[prost(message, optional, tag = "3")]
    schema: Option<protobuf::Schema>,
    #[prost(uint64, optional, tag = "4")]
    fetch: Option<u64>,
}

impl Codec {
    /// Whether a plan arrives that was encoded: the scheduler reads it and writes it again, and an executor reads that.
    pub(crate) fn arrives(&self, bytes: &[u8], context: &TaskContext) -> bool {
        let read = |bytes: &[u8]| {
            let plan =
                protobuf::PhysicalPlanNode::decode(bytes).map_err(|e| DataFusionError::Internal(e.to_string()))?;
            plan.try_into_physical_plan(context, self)
        };
        read(bytes).and_then(|plan| read(&self.encode(plan)?)).is_ok()
    }

    /// A whole plan.
    pub(crate) fn encode(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<u8>> {
        Ok(protobuf::PhysicalPlanNode::try_from_physical_plan(plan, self)?.encode_to_vec())
    }
}

impl PhysicalExtensionCodec for Codec {
    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let message = if let Some(sent) = node.downcast_ref::<SentStepsExec>() {
            let steps = Steps {
                dataset: sent.dataset().to_owned(),
                columns: sent.columns().iter().map(|column| *column as u64).collect(),
                schema: Some(sent.schema().as_ref().try_into()?),
                fetch: sent.fetch().map(|rows| rows as u64),
            };
            Node { steps: Some(steps), whole: None }
        } else if let Some(whole) = node.downcast_ref::<WholeExec>() {
            let plan = protobuf::PhysicalPlanNode::try_from_physical_plan(Arc::clone(whole.plan()), self)?;
            Node { steps: None, whole: Some(plan) }
        } else {
            return self.ballista.try_encode(node, buf, converter);
        };
        buf.extend_from_slice(MARK);
        message.encode(buf).map_err(|e| DataFusionError::Internal(e.to_string()))
    }

    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(bytes) = buf.strip_prefix(MARK) else {
            return self.ballista.try_decode(buf, inputs, context, converter);
        };
        let node = Node::decode(bytes).map_err(|e| DataFusionError::Internal(format!("a node of a plan: {e}")))?;
        match (node.steps, node.whole, inputs) {
            (Some(steps), None, [chosen]) => {
                let Some(schema) = &steps.schema else { return internal_err!("a scan of steps has no schema") };
                let schema = Arc::new(Schema::try_from(schema)?);
                let columns: Vec<usize> = steps.columns.iter().map(|column| *column as usize).collect();
                let fetch = steps.fetch.map(|rows| rows as usize);
                Ok(Arc::new(SentStepsExec::new(&steps.dataset, &columns, schema, fetch, Arc::clone(chosen))?))
            }
            (None, Some(plan), []) => Ok(Arc::new(WholeExec::new(plan.try_into_physical_plan(context, self)?))),
            _ => internal_err!("a node of a plan that is none of ours"),
        }
    }
}
