"""Tiny random checkpoints of the perception models, as real classes save them."""

import string
from pathlib import Path

import torch


def save_sam2(folder: Path, size: int = 64) -> Path:
    """Sam2VideoModel: four stages, images of `size` pixels."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    torch.manual_seed(0)
    config = Sam2VideoConfig(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "num_attention_heads": 1,
                "image_size": [size, size],
                "window_positional_embedding_background_size": [2, 2],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 1, 2, 4],
                "window_size_per_stage": [4, 4, 4, 2],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[size // 4] * 2, [size // 8] * 2, [size // 16] * 2],
            "fpn_hidden_size": 128,
        },
        prompt_encoder_config={"hidden_size": 128, "image_size": size, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 128,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
        image_size=size,
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[size // 16, size // 16],
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=32,
    )
    Sam2VideoModel(config).save_pretrained(folder)
    return folder


def save_grounding_dino(folder: Path) -> Path:
    """GroundingDinoForObjectDetection with a tokenizer of letters."""
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        SwinConfig,
    )

    torch.manual_seed(0)
    letters = list(string.ascii_lowercase + string.digits)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "."]
    words += letters + ["##" + letter for letter in letters]
    BertTokenizer(vocab={word: i for i, word in enumerate(words)}).save_pretrained(folder)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64,
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=2,
            out_indices=[2, 3, 4],
        ),
        text_config=BertConfig(
            vocab_size=len(words),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=256,
        ),
        num_queries=20,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_n_points=2,
        decoder_n_points=2,
        d_model=64,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    return folder


def save_vitpose(folder: Path, experts: int = 1, keypoints: int = 17) -> Path:
    """VitPoseForPoseEstimation with its processor; several experts make it a ViTPose+."""
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation
    from transformers.models.vitpose.image_processing_pil_vitpose import VitPoseImageProcessorPil

    torch.manual_seed(0)
    VitPoseImageProcessorPil(size={"height": 64, "width": 48}).save_pretrained(folder)
    backbone = VitPoseBackboneConfig(
        image_size=(64, 48),
        patch_size=(16, 16),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        num_experts=experts,
        part_features=4,
        out_indices=[2],
    )
    config = VitPoseConfig(backbone_config=backbone, num_labels=keypoints)
    VitPoseForPoseEstimation(config).save_pretrained(folder)
    return folder


def save_sam3(folder: Path, size: int = 112) -> Path:
    """One checkpoint of both networks, as facebook/sam3 is: Sam3VideoModel and CLIP's tokenizer."""
    from tiny_models import clip_text_settings, clip_tokenizer
    from transformers import Sam3VideoConfig, Sam3VideoModel

    torch.manual_seed(0)

    def eyes():
        return {
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": size,
                "pretrain_image_size": 56,
                "window_size": 4,
                "global_attn_indexes": [1],
            },
            "fpn_hidden_size": 128,
            "backbone_feature_sizes": [[size // 14 * k] * 2 for k in (4, 2, 1)],
        }

    small = {"hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 32}
    config = Sam3VideoConfig(
        detector_config={
            "vision_config": eyes(),
            "text_config": clip_text_settings() | {"max_position_embeddings": 32},
            "geometry_encoder_config": small | {"num_layers": 1},
            "detr_encoder_config": small | {"num_layers": 1},
            "detr_decoder_config": small | {"num_layers": 2, "num_queries": 10},
            "mask_decoder_config": {"hidden_size": 128, "num_attention_heads": 2},
        },
        tracker_config={
            "vision_config": eyes(),
            "image_size": size,
            "prompt_encoder_config": {
                "hidden_size": 128,
                "image_size": size,
                "mask_input_channels": 4,
            },
            "mask_decoder_config": {
                "hidden_size": 128,
                "mlp_dim": 32,
                "num_attention_heads": 2,
                "iou_head_hidden_dim": 16,
            },
            "memory_attention_hidden_size": 128,
            "memory_attention_num_layers": 1,
            "memory_attention_feed_forward_hidden_size": 32,
            "memory_attention_rope_feat_sizes": [size // 14] * 2,
            "memory_encoder_hidden_size": 128,
            "memory_encoder_output_channels": 64,
            "mask_downsampler_embed_dim": 128,
            "memory_fuser_embed_dim": 128,
            "memory_fuser_intermediate_dim": 32,
        },
    )
    Sam3VideoModel(config).save_pretrained(folder)
    tokenizer = clip_tokenizer()
    tokenizer.model_max_length = 32
    tokenizer.save_pretrained(folder)
    return folder
